"""The routes of other programs: `POST /api/<method>`, for who has a key.

Methods, fields and answers are those of Centrifugo's server API, so that the back-end libraries for it serve here.
What is theirs alone is for the key of its configuration; with keys of the hub's own it is answered by error 108.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

import msgspec

from hubbub.core import Core
from hubbub.events import encode
from hubbub.http.answers import NO_STORE, HttpError, Route, read_body, unavailable
from hubbub.http.api_calls import ApiCode, ApiError, BatchCall, LineCall
from hubbub.http.api_desk import MAX_BATCH, Desk, KeyDesk, reader
from hubbub.http.api_methods import MAX_ANSWER
from hubbub.keyring import KeyScope
from hubbub.wire.request import Request, Response

__all__ = ["MAX_BATCH", "ApiRoutes"]

read_batch = reader(BatchCall)
read_line = reader(LineCall)

# Publications of a batch that are posted in one turn of the loop.
AT_ONCE = 100

# Methods as an older form of the API counts them.
NUMBERED = (
    *("publish", "broadcast", "unsubscribe", "disconnect", "presence", "presence_stats", "history", "history_remove"),
    *("channels", "info", "rpc", "subscribe", "refresh"),
)


class ApiRoutes:
    """Answers requests of other programs.

    Args:
        desks: those for other kinds of keys than the hub's own, which are looked at first.

    Attributes:
        routes: by path, then by method.
    """

    def __init__(self, core: Core, *desks: Desk) -> None:
        self._core = core
        self._own = KeyDesk(core)
        self._desks: tuple[Desk, ...] = (*desks, self._own)
        self.routes: dict[str, dict[str, Route]] = {"/api/*": {"POST": self._answer}}
        if desks:
            self.routes["/api"] = {"POST": self._answer_lines}

    @property
    def methods(self) -> Collection[str]:
        """The methods that there are for keys of the hub's own, besides `batch`."""
        return self._own.calls

    async def _answer(self, request: Request) -> Response:
        if self._core.is_closed:
            raise unavailable("the server is restarting")
        desk, scope = await self._desk(request)
        name = request.path.rpartition("/")[2]
        if name == "batch":
            batch = read_body(request.body or b"{}", read_batch, '{"commands": [{"publish": {...}}, ...]}')
            answer = await desk.answer(run_all(desk, scope, batch))
            answer = answer.get("result", answer)  # the libraries look for `replies` beside `error`
        elif name in desk.calls:
            read, method = desk.calls[name]
            call = read_body(request.body or b"{}", read, f"an object with the fields of {name}")
            answer = await desk.answer(method(scope, call))
        else:
            raise HttpError(404, "not_found", f"there is no method {name[:40]!r}; there is {', '.join(desk.calls)}")
        return Response(200, encode(answer), headers=NO_STORE)

    async def _answer_lines(self, request: Request) -> Response:
        """Answer calls in the form that came before `/api/<method>`: one a line, with its method and its params."""
        if self._core.is_closed:
            raise unavailable("the server is restarting")
        desk, scope = await self._desk(request)
        lines = [line for line in request.body.split(b"\n") if line.strip()]
        if not 0 < len(lines) <= desk.most_commands:
            raise HttpError(400, "bad_request", f"the body has 1 to {desk.most_commands} lines, each a call")
        calls = [read_body(line, read_line, '{"method": "publish", "params": {...}} in a line') for line in lines]
        answers = []
        for call in calls:
            await asyncio.sleep(0)
            answers.append(encode(await run_line(desk, scope, call)))
        return Response(200, b"\n".join(answers), headers=NO_STORE)

    async def _desk(self, request: Request) -> tuple[Desk, KeyScope]:
        """The desk that the key of a request is for, and what it is good for there.

        Raises:
            HttpError: 401 without one, or with one that is unknown or was revoked.
            EngineError: it cannot be told.
        """
        secret = secret_of(request)
        for desk in self._desks:
            scope = await desk.scope(request, secret)
            if scope is not None:
                return desk, scope
        self._core.audit.refuse("/api", actor="", address=request.address, outcome="unauthorized")
        message = "no valid key: make one with `hubbub key add`, and send it as X-API-Key"
        if len(self._desks) > 1:
            message += "; http_api.key of Centrifugo's configuration is one, too"
        raise HttpError(HTTPStatus.UNAUTHORIZED, "unauthorized", message, {"WWW-Authenticate": "apikey"})


# Several calls


async def run_all(desk: Desk, scope: KeyScope, batch: BatchCall) -> dict[str, Any]:
    """What the commands of a batch are answered, in their order.

    Raises:
        ApiError: there are too many.
    """
    if len(batch.commands) > desk.most_commands:
        message = f"a batch has at most {desk.most_commands} commands, not {len(batch.commands)}"
        raise ApiError(ApiCode.LIMIT, message)
    if all(command.keys() == {"publish"} for command in batch.commands):
        return {"replies": await publish_all(desk, scope, batch)}
    replies: list[msgspec.Raw] = []
    size = 0
    for command in batch.commands:
        await asyncio.sleep(0)  # not every command waits for something
        if size <= MAX_ANSWER:
            reply = await run_one(desk, scope, command)
        else:
            reply = ApiError(ApiCode.LIMIT, "the answer is large enough; ask for the rest anew").body()
        encoded = encode(reply)
        replies.append(msgspec.Raw(encoded))
        size += len(encoded)
    return {"replies": replies}


async def publish_all(desk: Desk, scope: KeyScope, batch: BatchCall) -> list[dict[str, Any]]:
    """What a batch of publications is answered; many are posted in their order before any of them waits."""
    replies: list[dict[str, Any]] = []
    for first in range(0, len(batch.commands), AT_ONCE):
        some = batch.commands[first : first + AT_ONCE]
        replies += await asyncio.gather(*(run_one(desk, scope, command) for command in some))
    return replies


async def run_one(desk: Desk, scope: KeyScope, command: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """What one command of a batch is answered."""
    if len(command) != 1:
        return ApiError(ApiCode.BAD_REQUEST, 'a command is an object like {"publish": {...}}').body()
    [(name, fields)] = command.items()
    if name not in desk.calls:
        return ApiError(ApiCode.UNKNOWN_METHOD, f"there is no method {name[:40]!r} in a batch").body()
    read, method = desk.calls[name]
    try:
        call = read(bytes(fields))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return ApiError(ApiCode.BAD_REQUEST, f"{name}: {error}").body()
    answer = await desk.answer(method(scope, call))
    return {name: answer["result"]} if "result" in answer else answer


async def run_line(desk: Desk, scope: KeyScope, call: LineCall) -> dict[str, Any]:
    """What one call of several lines is answered."""
    method = call.method
    if isinstance(method, int):
        method = NUMBERED[method] if 0 <= method < len(NUMBERED) else ""
    params = msgspec.Raw(b"{}") if isinstance(call.params, msgspec.UnsetType) else call.params
    answer = await run_one(desk, scope, {method: params})
    told = answer if "error" in answer else {"result": answer[method]}
    return {"id": call.id, **told} if call.id else told


def secret_of(request: Request) -> str:
    """The key that a request has in a header or its query; empty without one."""
    secret = request.header("x-api-key")
    if secret is None:
        scheme, _, rest = (request.header("authorization") or "").partition(" ")
        secret = rest.strip() if scheme.lower() == "apikey" else None
    if secret is None:
        secret = request.query_fields().get("api_key", [""])[0] if request.query else ""
    return secret
