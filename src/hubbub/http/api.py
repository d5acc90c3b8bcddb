"""The routes of other programs: `POST /api/<method>`, for who has a key.

Methods, fields and answers are those of Centrifugo's server API, so that the back-end libraries for it serve here.
What is theirs alone is answered by error 108.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from hubbub.core import Core
from hubbub.events import encode
from hubbub.http.answers import NO_STORE, HttpError, Route, read_body, unavailable
from hubbub.http.api_calls import (
    ApiCode,
    ApiError,
    BatchCall,
    BroadcastCall,
    DisconnectCall,
    EmptyCall,
    HistoryCall,
    PublishCall,
    RoomCall,
    RoomsCall,
)
from hubbub.http.api_methods import MAX_ANSWER, ApiMethods
from hubbub.keyring import MAX_SECRET_CHARS, KeyScope
from hubbub.otp import digest
from hubbub.wire.request import Request, Response

__all__ = ["ApiRoutes"]

# Calls in one batch.
MAX_BATCH = 100

# What an application of another server may ask for, and is not to be had here.
ABSENT = ("subscribe", "unsubscribe", "refresh", "history_remove")

F = TypeVar("F")
Read = Callable[[bytes], Any]
Method = Callable[[KeyScope, Any], Awaitable[dict[str, Any]]]


def reader(fields: type[F]) -> Callable[[bytes], F]:
    return msgspec.json.Decoder(fields).decode


read_batch = reader(BatchCall)


class ApiRoutes:
    """Answers requests of other programs.

    Attributes:
        routes: by path, then by method.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._methods = methods = ApiMethods(core)
        self._by_name: dict[str, tuple[Read, Method]] = {
            "publish": (reader(PublishCall), methods.publish),
            "broadcast": (reader(BroadcastCall), methods.broadcast),
            "history": (reader(HistoryCall), methods.history),
            "presence": (reader(RoomCall), methods.presence),
            "presence_stats": (reader(RoomCall), methods.presence_stats),
            "channels": (reader(RoomsCall), methods.list_rooms),
            "rooms": (reader(RoomsCall), methods.list_rooms),
            "disconnect": (reader(DisconnectCall), methods.disconnect),
            "info": (reader(EmptyCall), methods.info),
            **dict.fromkeys(ABSENT, (reader(EmptyCall), absent)),
        }
        self.routes: dict[str, dict[str, Route]] = {"/api/*": {"POST": self._answer}}

    @property
    def methods(self) -> Collection[str]:
        """The methods that there are, besides `batch`."""
        return self._by_name

    async def _answer(self, request: Request) -> Response:
        if self._core.is_closed:
            raise unavailable("the server is restarting")
        scope = await self._scope(request)
        name = request.path.rpartition("/")[2]
        if name == "batch":
            batch = read_body(request.body or b"{}", read_batch, '{"commands": [{"publish": {...}}, ...]}')
            answer = await self._methods.answer(self._run_all(scope, batch))
            answer = answer.get("result", answer)  # the libraries look for `replies` beside `error`
        elif name in self._by_name:
            read, method = self._by_name[name]
            call = read_body(request.body or b"{}", read, f"an object with the fields of {name}")
            answer = await self._methods.answer(method(scope, call))
        else:
            raise HttpError(404, "not_found", f"there is no method {name[:40]!r}; there is {', '.join(self._by_name)}")
        return Response(200, encode(answer), headers=NO_STORE)

    async def _scope(self, request: Request) -> KeyScope:
        """What the key of a request is good for.

        Raises:
            HttpError: 401 without one, or with one that is unknown or was revoked.
            EngineError: it cannot be told.
        """
        secret = secret_of(request)
        key = await self._core.engine.api_key(digest(secret)) if 0 < len(secret) <= MAX_SECRET_CHARS else None
        if key is None:
            self._core.audit.refuse("/api", actor="", address=request.address, outcome="unauthorized")
            message = "no valid key: make one with `hubbub key add`, and send it as X-API-Key"
            raise HttpError(HTTPStatus.UNAUTHORIZED, "unauthorized", message, {"WWW-Authenticate": "apikey"})
        return KeyScope(key)

    # Several calls

    async def _run_all(self, scope: KeyScope, batch: BatchCall) -> dict[str, Any]:
        if len(batch.commands) > MAX_BATCH:
            raise ApiError(ApiCode.LIMIT, f"a batch has at most {MAX_BATCH} commands, not {len(batch.commands)}")
        if all(command.keys() == {"publish"} for command in batch.commands):
            # They are posted in their order, before any of them waits.
            return {"replies": await asyncio.gather(*(self._run(scope, command) for command in batch.commands))}
        replies: list[dict[str, Any]] = []
        size = 0
        for command in batch.commands:
            if size > MAX_ANSWER:
                replies.append(ApiError(ApiCode.LIMIT, "the answer is large enough; ask for the rest anew").body())
                continue
            reply = await self._run(scope, command)
            size += len(encode(reply))
            replies.append(reply)
        return {"replies": replies}

    async def _run(self, scope: KeyScope, command: dict[str, msgspec.Raw]) -> dict[str, Any]:
        """What one command of a batch is answered."""
        if len(command) != 1:
            return ApiError(ApiCode.BAD_REQUEST, 'a command is an object like {"publish": {...}}').body()
        [(name, fields)] = command.items()
        if name not in self._by_name:
            return ApiError(ApiCode.UNKNOWN_METHOD, f"there is no method {name[:40]!r} in a batch").body()
        read, method = self._by_name[name]
        try:
            call = read(bytes(fields))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return ApiError(ApiCode.BAD_REQUEST, f"{name}: {error}").body()
        answer = await self._methods.answer(method(scope, call))
        return {name: answer["result"]} if "result" in answer else answer


def secret_of(request: Request) -> str:
    """The key that a request has in a header or its query; empty without one."""
    secret = request.header("x-api-key")
    if secret is None:
        scheme, _, rest = (request.header("authorization") or "").partition(" ")
        secret = rest.strip() if scheme.lower() == "apikey" else None
    if secret is None:
        secret = request.query_fields().get("api_key", [""])[0] if request.query else ""
    return secret


async def absent(_scope: KeyScope, _call: EmptyCall) -> dict[str, Any]:
    """Refuse what is not to be had here."""
    raise ApiError(ApiCode.NOT_AVAILABLE, "this method is not available")
