"""The HTTP routes, asked without HTTP: a request goes in, a response comes out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
import structlog
from argon2.exceptions import VerifyMismatchError

from hubbub import accounts as accounts_module
from hubbub import logins
from hubbub import turns as turns_module
from hubbub.accounts import Accounts
from hubbub.acts import Role
from hubbub.dialect import CLASSIC
from hubbub.engine import Account, Grant
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import CloseCode, EngineError
from hubbub.http.app import App, security_headers
from hubbub.http.cookies import Cookies
from hubbub.http.grants import Grants
from hubbub.http.pages import KEPT
from hubbub.http.room_events import RoomEvents
from hubbub.http.site import read_site
from hubbub.otp import OneTimePasswords
from hubbub.settings import Settings
from hubbub.testing import Clock, Stage, at_work
from hubbub.wire.common import Common
from hubbub.wire.door import Door, OtpCredentials
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request, Response
from hubbub.wire.upgrade import Upgrades
from hubbub.wire.websocket import WireSettings

pytestmark = pytest.mark.anyio

HERE = "127.0.0.1"
ELSEWHERE = "192.0.2.7"
LISTED = "https://chat.example"
RIGHT = {"username": "percy", "password": "right"}


class FakeHasher:
    """Hashes at once, and remembers what it was asked.

    Attributes:
        verified: the hashes that a password was held against.
    """

    verified: list[str]

    def hash(self, password: str) -> str:
        return f"hash of {password}"

    def verify(self, hashed: str, password: str) -> bool:
        self.verified.append(hashed)
        if hashed != self.hash(password):
            raise VerifyMismatchError
        return True


class Watched(MemoryEngine):
    """An engine that remembers which sessions there were, and can be out of reach."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock, wall=clock)
        self.sessions: set[str] = set()
        self.error: Exception | None = None

    async def put_session(self, grant: Grant, ttl_s: float, most: int = 0) -> None:
        self.sessions.add(grant.session)
        await super().put_session(grant, ttl_s, most)

    async def account(self, user: str) -> Account | None:
        if self.error is not None:
            raise self.error
        return await super().account(user)

    async def living(self) -> Collection[str]:
        """The sessions that have not ended."""
        return await self.alive(self.sessions)


class Countings:
    """What was counted: which formats the last one who asked takes."""

    def answer(self, accept: str) -> tuple[bytes, str]:
        return accept.encode(), "text/plain"


class Office:
    """The routes, and what is behind them."""

    def __init__(self, stage: Stage, engine: Watched) -> None:
        settings = stage.settings
        self.stage = stage
        self.engine = engine
        self.accounts = Accounts(engine, session_ttl_s=settings.session_ttl, max_user_name=settings.max_user_name)
        self.otps = OneTimePasswords(
            engine, ttl_s=settings.otp_ttl, per_account=settings.max_otps_per_account, in_all=settings.max_otps
        )
        self.door = Door(stage.core, OtpCredentials(self.otps), settings)
        self._app = App(stage.core, self.accounts, self.otps, settings, self.door, Countings(), read_site())
        self.sockets = WireSettings(settings.max_frame, Readers(settings.max_frame))
        upgrades = Upgrades(stage.core, self.door, self.sockets, Common(b"", stage.clock))
        grants = Grants(self.accounts, Cookies(settings, settings.session_ttl), stage.core.audit, stage.core.tokens)
        self._app.add(RoomEvents(upgrades, grants, self.otps).routes)

    @property
    def routes(self) -> Mapping[str, Collection[str]]:
        """The methods that each path takes."""
        return self._app.routes

    async def ask(self, method: str, path: str, body: object = b"", *, address: str = HERE, **headers: str) -> Response:
        """Send a request; a body that is no bytes is sent as JSON."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): [value] for name, value in headers.items()}
        path, _, query = path.partition("?")
        return await self._app.answer(Request(method, path, query, named, address, sent))

    async def log_in(self) -> dict[str, Any]:
        """What percy, who has an account, gets for the password."""
        return cast("dict[str, Any]", json_of(await self.ask("POST", "/login", RIGHT)))


@asynccontextmanager
async def office(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[Office]:
    """The routes of a hub at work, where percy has an account."""
    FakeHasher.verified = []
    monkeypatch.setattr(accounts_module, "PasswordHasher", FakeHasher)
    clock = Clock()
    engine = Watched(clock)
    async with at_work(engine=engine, clock=clock, **settings) as stage:
        here = Office(stage, engine)
        try:
            await here.accounts.add("percy", "right")
            yield here
        finally:
            here.accounts.close()


def json_of(response: Response, status: int = 200) -> Any:
    assert response.status == status, response
    assert response.media_type == "application/json"
    return msgspec.json.decode(response.body)


def assert_error(response: Response, status: int, code: str) -> str:
    """An error as the protocol page wants it; its message."""
    error = json_of(response, status)["error"]
    assert set(error) == {"code", "message"}
    assert error["code"] == code
    assert error["message"]
    assert response.headers["Cache-Control"] == "no-store"
    return cast("str", error["message"])


# Logging in


async def test_a_login_is_answered_by_a_ticket_and_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch, session_ttl=3600) as here:
        response = await here.ask("POST", "/login", RIGHT, content_type="text/plain")
        answer = json_of(response)
        assert set(answer) == {"otp", "token", "expires_in"}
        assert answer["expires_in"] == 3600
        assert response.headers["Cache-Control"] == "no-store"
        grant = await here.otps.take(answer["otp"])
        assert grant is not None
        assert grant == await here.accounts.grant_of(answer["token"])
        assert grant.user == "percy"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"username":"percy"}',
        b'{"password":"x"}',
        b'{"username":1,"password":"x"}',
        b"\xff",
    ],
)
@pytest.mark.parametrize("path", ["/login", "/setup"])
async def test_a_body_that_cannot_be_read_is_told_what_it_should_be(
    monkeypatch: pytest.MonkeyPatch, path: str, body: bytes
) -> None:
    async with office(monkeypatch) as here:
        assert '{"' in assert_error(await here.ask("POST", path, body), 400, "bad_request")
        assert FakeHasher.verified == []


async def test_a_wrong_name_and_a_wrong_password_go_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        wrong_password = await here.ask("POST", "/login", RIGHT | {"password": "wrong"})
        assert FakeHasher.verified == ["hash of right"]
        FakeHasher.verified.clear()
        wrong_name = await here.ask("POST", "/login", RIGHT | {"username": "nobody"})
        assert len(FakeHasher.verified) == 1, "it costs a verification, too"
        assert FakeHasher.verified[0].startswith("hash of ")
        assert wrong_name == wrong_password
        assert_error(wrong_name, 401, "unauthorized")
        assert not here.engine.sessions


async def test_a_name_that_is_unknown_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        monkeypatch.setattr(FakeHasher, "verify", lambda *_: True)  # even if it met the hash that stands in
        assert (await here.ask("POST", "/login", RIGHT | {"username": "nobody"})).status == 401


@pytest.mark.parametrize("is_removed", [False, True], ids=["changed", "removed"])
async def test_a_login_does_not_outlive_a_change_of_its_account(
    monkeypatch: pytest.MonkeyPatch, is_removed: bool
) -> None:
    async with office(monkeypatch) as here:
        put_session = here.engine.put_session

        async def change_first(grant: Grant, ttl_s: float, most: int) -> None:
            """Keep a session, just after what ends all those of its user."""
            if is_removed:
                await here.engine.remove_account("percy")
            else:
                await here.accounts.add("percy", "another")
            await put_session(grant, ttl_s, most)

        monkeypatch.setattr(here.engine, "put_session", change_first)
        assert_error(await here.ask("POST", "/login", RIGHT), 401, "unauthorized")
        assert len(here.engine.sessions) == 1
        assert not await here.engine.living()


async def test_logins_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_args: object) -> None:
        raise logins.refusal("too many logins wait for their turn")

    async with office(monkeypatch) as here:
        monkeypatch.setattr(logins.Queue, "add", no_room)
        monkeypatch.setattr(turns_module, "REFUSAL_S", 0.0)
        response = await here.ask("POST", "/login", RIGHT)
        assert_error(response, 429, "rate_limited")
        assert response.headers["Retry-After"] == "5"
        assert FakeHasher.verified == []


async def test_a_login_says_where_it_comes_from_and_by_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        attempts: list[logins.Attempt] = []
        add = logins.Queue.add

        def noting(queue: logins.Queue, attempt: logins.Attempt, now: float) -> None:
            attempts.append(attempt)
            add(queue, attempt, now)

        monkeypatch.setattr(logins.Queue, "add", noting)
        token = (await here.log_in())["token"]
        await here.ask("POST", "/login", RIGHT, address="2001:db8::1", authorization=f"Bearer {token}")
        other = RIGHT | {"username": "alice"}
        await here.ask("POST", "/login", other, address=ELSEWHERE, authorization=f"Bearer {token}")
        assert [attempt.source for attempt in attempts] == [HERE, "2001:db8::/64", ELSEWHERE]
        grant = await here.accounts.grant_of(token)
        assert grant is not None
        assert [attempt.session for attempt in attempts] == ["", grant.session, ""], (
            "a session vouches for its own user"
        )


@pytest.mark.parametrize("limit", ["max_otps", "max_otps_per_account"])
async def test_a_login_without_a_ticket_leaves_no_session(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    async with office(monkeypatch, otp_ttl=5.0, **{limit: 2}) as here:
        first = await here.log_in()
        await here.log_in()
        assert len(await here.engine.living()) == 2
        response = await here.ask("POST", "/login", RIGHT)
        assert "2" in assert_error(response, 429, "rate_limited")
        assert response.headers["Retry-After"] == "5"
        assert len(here.engine.sessions) == 3
        assert len(await here.engine.living()) == 2
        # One that is used makes room for another.
        await here.otps.take(first["otp"])
        await here.log_in()


@pytest.mark.parametrize("limit", ["max_otps", "max_otps_per_account"])
async def test_another_ticket_is_counted_as_well(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    async with office(monkeypatch, **{limit: 2}) as here:
        bearer = f"Bearer {(await here.log_in())['token']}"
        otp = json_of(await here.ask("POST", "/otp", authorization=bearer))["otp"]
        assert_error(await here.ask("POST", "/otp", authorization=bearer), 429, "rate_limited")
        assert len(await here.engine.living()) == 1, "the session is not the ticket's to end"
        assert await here.otps.take(otp)
        here.stage.clock.go(5.1)
        response = await here.ask("POST", "/otp", authorization=bearer)
        assert set(json_of(response)) == {"otp"}
        assert response.headers["Cache-Control"] == "no-store"


# The bearer's token


@pytest.mark.parametrize("path", ["/otp", "/logout"])
async def test_a_token_is_asked_for(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    async with office(monkeypatch) as here:
        token = (await here.log_in())["token"]
        for headers in (
            {},
            *({"authorization": value} for value in ("", "Bearer", "Bearer x", f"Basic {token}", token)),
        ):
            response = await here.ask("POST", path, **headers)
            assert_error(response, 401, "unauthorized")
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_token_is_known_however_its_scheme_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        token = (await here.log_in())["token"]
        assert (await here.ask("POST", "/otp", authorization=f"bearer  {token}")).status == 200


async def test_a_token_dies_with_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch, session_ttl=60) as here:
        token = (await here.log_in())["token"]
        here.stage.clock.go(60)
        assert (await here.ask("POST", "/otp", authorization=f"Bearer {token}")).status == 401


async def test_logging_out_ends_the_token_its_tickets_and_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        answer, other = await here.log_in(), await here.log_in()
        grant = await here.accounts.grant_of(answer["token"])
        assert grant is not None
        mine = await here.stage.client("percy", session=grant.session)
        another = await here.stage.client("percy")
        here.stage.core.start_draining()  # it is possible to the end
        response = await here.ask("POST", "/logout", authorization=f"Bearer {answer['token']}")
        assert response.status == 204
        assert (mine.close_code, another.close_code) == (CloseCode.SESSION_ENDED, None)
        assert await here.otps.take(answer["otp"]) is None
        assert await here.otps.take(other["otp"])
        assert (await here.ask("POST", "/logout", authorization=f"Bearer {answer['token']}")).status == 401


# The first account


async def with_secret(here: Office) -> str:
    """A secret as one who starts a server without accounts is shown it."""
    await here.engine.remove_account("percy")
    secret = await here.accounts.open_setup()
    assert secret is not None
    return secret


async def test_the_first_account_is_made_with_the_secret_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        secret = await with_secret(here)
        first = {"secret": secret, "username": "alice", "password": "new"}
        assert_error(await here.ask("POST", "/setup", first | {"secret": "guess"}), 403, "forbidden")
        assert (await here.ask("POST", "/setup", first)).status == 204
        assert_error(await here.ask("POST", "/setup", first | {"username": "mallory"}), 403, "forbidden")
        assert await here.engine.accounts() == ["alice"]
        assert (await here.ask("POST", "/login", {"username": "alice", "password": "new"})).status == 200


async def test_whether_the_first_account_can_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        assert json_of(await here.ask("GET", "/setup")) == {"open": False}
        secret = await with_secret(here)
        assert json_of(await here.ask("GET", "/setup")) == {"open": True}
        await here.ask("POST", "/setup", {"secret": secret, "username": "alice", "password": "new"})
        answer = await here.ask("GET", "/setup")
        assert json_of(answer) == {"open": False}
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_page_may_ask_why_its_websocket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch, max_clients=1) as here:
        own = {"origin": "https://localhost", "host": "localhost"}
        assert_error(await here.ask("POST", "/ws", **own), 426, "upgrade_required")
        assert_error(await here.ask("POST", "/ws", **own | {"origin": "https://foreign.example"}), 403, "forbidden")
        here.door.take_place(HERE)
        answer = await here.ask("POST", "/ws", **own)
        assert_error(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]
        here.door.places.free(HERE)
        for _ in range(2):
            assert_error(await here.ask("POST", "/ws", **own), 426, "upgrade_required")


async def test_a_page_connects_to_its_own_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert b"connect-src 'self'; " in security_headers(Settings())


async def test_the_server_as_a_whole_tells_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        answer = await here.ask("OPTIONS", "*")
        assert answer == Response(204, headers={"Allow": "GET, HEAD, POST, DELETE, OPTIONS"})


@pytest.mark.parametrize("wrong", [{"username": "Not A Name"}, {"username": "a" * 33}, {"password": ""}])
async def test_a_name_that_cannot_be_does_not_use_the_secret_up(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    async with office(monkeypatch) as here:
        first = {"secret": await with_secret(here), "username": "alice", "password": "new"}
        assert_error(await here.ask("POST", "/setup", first | wrong), 400, "bad_payload")
        assert (await here.ask("POST", "/setup", first)).status == 204


# What an operator, a load balancer or a lost client asks


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_debug_tells_this_machine_how_many_are_connected(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    async with office(monkeypatch) as here:
        await here.stage.client("percy", CLASSIC)
        await here.stage.client("alice")
        response = await here.ask("GET", "/debug", address=address)
        assert (response.status, response.body) == (200, b"2")


async def test_debug_tells_others_only_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        response = await here.ask("GET", "/debug", address=ELSEWHERE)
        assert "--debug-public" in assert_error(response, 403, "forbidden")
    async with office(monkeypatch, debug_public=True) as here:
        response = await here.ask("GET", "/debug", address=ELSEWHERE)
        assert (response.status, response.body) == (200, b"0")


@pytest.mark.parametrize("path", ["/debug", "/metrics"])
@pytest.mark.parametrize("header", ["x_forwarded_for", "x_real_ip", "forwarded", "via"])
async def test_what_a_proxy_passes_on_is_not_from_this_machine(
    monkeypatch: pytest.MonkeyPatch, path: str, header: str
) -> None:
    async with office(monkeypatch) as here:
        assert (await here.ask("GET", path)).status == 200
        for address in (HERE, "proxied:127.0.0.1"):
            assert_error(await here.ask("GET", path, address=address, **{header: "127.0.0.1"}), 403, "forbidden")
        assert_error(await here.ask("GET", path, address="proxied:127.0.0.1"), 403, "forbidden")


async def test_metrics_are_for_this_machine_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        for method in ("GET", "HEAD"):
            response = await here.ask(method, "/metrics", accept="text/plain")
            assert (response.status, response.body, response.media_type) == (200, b"text/plain", "text/plain")
        response = await here.ask("GET", "/metrics", address=ELSEWHERE)
        assert "--metrics" in assert_error(response, 403, "forbidden")
    async with office(monkeypatch, metrics="all") as here:
        assert (await here.ask("GET", "/metrics", address=ELSEWHERE)).status == 200
        assert (await here.ask("GET", "/metrics", address=ELSEWHERE, x_forwarded_for="192.0.2.9")).status == 200
    async with office(monkeypatch, metrics="off") as here:
        assert_error(await here.ask("GET", "/metrics"), 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_whoever_asks_is_told_that_the_server_is_alive_while_it_is(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async with office(monkeypatch) as here:
        monkeypatch.setattr(MemoryEngine, "is_up", False)
        here.stage.core.start_draining()
        response = await here.ask(method, "/healthz", address=ELSEWHERE)
        assert (response.status, response.body) == (200, b"ok")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_whoever_asks_is_told_why_no_clients_should_be_sent_here(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def ready(here: Office) -> tuple[int, bytes]:
        response = await here.ask(method, "/readyz", address=ELSEWHERE)
        return response.status, response.body.partition(b":")[0]

    async with office(monkeypatch, max_clients=1) as here:
        assert await ready(here) == (200, b"ok")
        here.door.places.take(ELSEWHERE)
        assert await ready(here) == (503, b"full")
        monkeypatch.setattr(MemoryEngine, "is_up", False)
        assert await ready(here) == (503, b"engine")
        here.stage.core.leave()
        assert await ready(here) == (503, b"draining")
        here.door.places.free(ELSEWHERE)
        monkeypatch.setattr(MemoryEngine, "is_up", True)
        assert await ready(here) == (503, b"draining")


async def test_logins_go_on_while_the_server_only_says_that_it_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        here.stage.core.leave()
        await here.log_in()
        here.door.take_place(ELSEWHERE)


@pytest.mark.parametrize("path", ["/login", "/setup", "/otp"])
async def test_nothing_is_begun_while_draining(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    async with office(monkeypatch) as here:
        bearer = f"Bearer {(await here.log_in())['token']}"
        FakeHasher.verified.clear()
        here.stage.core.start_draining()
        response = await here.ask("POST", path, RIGHT, authorization=bearer)
        assert_error(response, 503, "unavailable")
        assert int(response.headers["Retry-After"]) > 0
        assert FakeHasher.verified == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_one_who_forgot_to_upgrade_is_told_to(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    async with office(monkeypatch) as here:
        response = await here.ask(method, "/ws")
        assert_error(response, 426, "upgrade_required")
        assert response.headers["Upgrade"] == "websocket"


# Pages


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_pages_are_there_and_known_by_their_tags(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    async with office(monkeypatch) as here:
        site = read_site()
        kept = {f"/v/{site.version}{path}": page for path, page in site.kept.items()}
        for path, page in {**site.pages, **kept}.items():
            whole = await here.ask(method, path)
            assert whole == page.plain[0]
            assert whole.headers["Cache-Control"] == (KEPT if path.startswith("/v/") else "no-cache")
            tag = whole.headers["ETag"]
            for known in (tag, f'"older", {tag}', f"W/{tag}"):
                assert await here.ask(method, path, if_none_match=known) == Response(304, headers=whole.headers)
            assert (await here.ask(method, path, if_none_match='"older"')).status == 200


async def test_a_page_varies_by_coding_and_by_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch, allow_origin=(LISTED,)) as here:
        page = await here.ask("GET", "/web/app.js", accept_encoding="gzip, br", origin=LISTED)
        assert page.headers["Vary"] == "Accept-Encoding, Origin"
        assert page.headers["Content-Encoding"] == "gzip"
        assert page.headers["Access-Control-Allow-Origin"] == LISTED


@pytest.mark.parametrize(
    "path", ["/web/index.html", "/web/", "/web/../app.py", "/web/%2e%2e/app.py", "/nothing", "", "//"]
)
async def test_nothing_else_is_there(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    async with office(monkeypatch) as here:
        for method in ("GET", "POST", "OPTIONS"):
            assert_error(await here.ask(method, path), 404, "not_found")


# Methods


METHODS = {
    "/login": "POST",
    "/setup": "GET, HEAD, POST",
    "/otp": "POST",
    "/logout": "POST",
    "/debug": "GET",
    "/healthz": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/metrics": "GET, HEAD",
    "/ws": "GET, HEAD, POST",
    "/": "GET, HEAD",
}


@pytest.mark.parametrize("path", METHODS)
async def test_a_path_tells_what_it_takes(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    allowed = f"{METHODS[path]}, OPTIONS"
    async with office(monkeypatch) as here:
        assert await here.ask("OPTIONS", path) == Response(204, headers={"Allow": allowed})
        for method in {"GET", "HEAD", "POST", "PUT", "DELETE"} - set(allowed.split(", ")):
            response = await here.ask(method, path)
            assert METHODS[path] in assert_error(response, 405, "method_not_allowed")
            assert response.headers["Allow"] == allowed


async def test_a_path_that_answers_to_options_itself_names_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def allow(_request: Request) -> Response:
        return Response(204)

    async with office(monkeypatch) as here:
        here._app.add({"/more": {"POST": allow, "OPTIONS": allow}})
        response = await here.ask("GET", "/more")
        assert_error(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "POST, OPTIONS"


# Other origins


async def test_a_page_of_a_listed_origin_may_ask_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch, allow_origin=("https://Chat.example/", "https://other.example")) as here:
        before = await here.ask("OPTIONS", "/login", origin=LISTED, access_control_request_method="POST")
        assert before.headers == {
            "Allow": "POST, OPTIONS",
            "Vary": "Origin",
            "Access-Control-Allow-Origin": LISTED,
            "Access-Control-Expose-Headers": "Retry-After",
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
        }
        response = await here.ask("POST", "/login", RIGHT, origin=LISTED)
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == LISTED
        assert "Access-Control-Allow-Methods" not in response.headers
        refused = await here.ask("POST", "/login", b"{", origin=LISTED)
        assert refused.headers["Access-Control-Allow-Origin"] == LISTED, "it may read errors, too"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{LISTED}.evil.example", "http://chat.example"])
async def test_a_page_of_another_origin_reads_nothing(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    async with office(monkeypatch, allow_origin=(LISTED,)) as here:
        for method in ("OPTIONS", "POST"):
            response = await here.ask(method, "/login", RIGHT, origin=origin)
            assert response.headers["Vary"] == "Origin", "a cache must not give it what is for another"
            assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://chat.example"])
@pytest.mark.parametrize("path", ["/login", "/otp", "/logout", "/setup"])
async def test_what_a_page_of_another_origin_has_a_browser_send_is_refused(
    monkeypatch: pytest.MonkeyPatch, path: str, origin: str
) -> None:
    async with office(monkeypatch) as here:
        token = (await here.log_in())["token"]
        checked = len(FakeHasher.verified)
        named = {"host": "chat.example", "authorization": f"Bearer {token}"}
        response = await here.ask("POST", path, RIGHT | {"secret": "s"}, origin=origin, **named)
        assert "--allow-origin" in assert_error(response, 403, "forbidden")
        assert len(FakeHasher.verified) == checked, "no password is looked at"
        assert (await here.ask("POST", "/otp", origin="https://chat.example", **named)).status == 200, (
            "the session lives"
        )


async def test_without_listed_origins_nothing_is_said_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        response = await here.ask("GET", "/", origin=LISTED)
        assert set(response.headers) == {"ETag", "Cache-Control", "Vary"}
        assert response.headers["Vary"] == "Accept-Encoding"


# Trouble


async def test_an_engine_out_of_reach_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        here.engine.error = EngineError("the disk is full")
        response = await here.ask("POST", "/login", RIGHT)
        assert assert_error(response, 503, "unavailable") == "the disk is full"
        assert response.headers["Retry-After"] == "5"


async def test_a_failure_is_for_the_log_and_not_for_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        here.engine.error = ZeroDivisionError("of secrets")
        with structlog.testing.capture_logs() as lines:
            response = await here.ask("POST", "/login", RIGHT)
        assert "secrets" not in assert_error(response, 500, "internal")
        assert [(line["event"], line["path"]) for line in lines] == [("request failed", "/login")]
        assert isinstance(lines[0]["exc_info"], ZeroDivisionError)


async def test_a_header_that_came_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        twice = Request("POST", "/otp", "", {"authorization": ["Bearer a", "Bearer b"]}, HERE)
        assert_error(await here._app.answer(twice), 400, "bad_request")


async def test_passwords_and_tickets_are_in_no_log_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        with structlog.testing.capture_logs() as lines:
            answer = await here.log_in()
            await here.ask("POST", "/login", RIGHT | {"password": "wrong"})
            await here.ask("POST", "/logout", authorization=f"Bearer {answer['token']}")
        assert [line["event"] for line in lines] == ["login", "login failed", "logout"]
        assert not [secret for secret in (answer["token"], answer["otp"], "right", "wrong") if secret in str(lines)]


# Headers of every answer


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(no_tls=True), None),
        (Settings(), b"max-age=300"),
        (Settings(tls_cert=Settings().data_dir, tls_key=Settings().data_dir), b"max-age=31536000"),
    ],
)
def test_browsers_are_told_to_keep_to_tls(settings: Settings, expected: bytes | None) -> None:
    lines = security_headers(settings).split(b"\r\n")
    assert lines[-1] == b""
    values = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines[:-1])}
    assert values.get(b"strict-transport-security") == expected
    assert values[b"x-content-type-options"] == b"nosniff"
    assert values[b"referrer-policy"] == b"no-referrer"
    assert b"default-src 'none'" in values[b"content-security-policy"]


# Who may do what


class Noted:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def note(self, act: str, *, actor: str, outcome: str, **_more: object) -> None:
        self.lines.append((act, actor, outcome))

    def refuse(self, act: str, *, actor: str, address: str, outcome: str, **_more: object) -> None:
        self.lines.append((act, actor or address, outcome))

    def tick(self) -> None: ...


async def test_each_login_logout_and_refusal_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Noted()
    async with office(monkeypatch, audit=noted) as here:
        token = (await here.log_in())["token"]
        await here.ask("POST", "/login", RIGHT | {"password": "wrong"})
        await here.ask("POST", "/login", {"username": "nobody", "password": "right"})
        await here.ask("POST", "/logout", authorization=f"Bearer {token}")
        await here.ask("POST", "/otp", authorization=f"Bearer {token}")
        await here.ask("POST", "/setup", {"secret": "guess", "username": "eve", "password": "right"})
        here.engine.error = EngineError("the disk is full")
        await here.ask("POST", "/login", RIGHT)
        assert noted.lines == [
            ("login", "percy", "ok"),
            ("login", "percy", "unauthorized"),
            ("login", "nobody", "unauthorized"),
            ("logout", "percy", "ok"),
            ("/otp", HERE, "unauthorized"),
            ("setup", "eve", "forbidden"),
            ("login", "percy", "unavailable"),
        ]


async def test_a_blocked_account_gets_no_session_and_tells_so_to_who_has_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with office(monkeypatch) as here:
        await here.engine.set_blocked("percy", is_blocked=True)
        assert_error(await here.ask("POST", "/login", RIGHT), 403, "forbidden")
        assert_error(await here.ask("POST", "/login", RIGHT | {"password": "wrong"}), 401, "unauthorized")
        assert not here.engine.sessions


async def test_an_account_that_is_new_has_its_role_from_its_first_login_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        await here.accounts.add("visitor", "right", Role.GUEST)
        assert (await here.ask("POST", "/login", RIGHT | {"username": "visitor"})).status == 200
        visitor = await here.stage.client("visitor")
        assert visitor.client.role is Role.GUEST


async def test_the_first_account_is_an_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        await here.engine.remove_account("percy")
        secret = await here.accounts.open_setup()
        body = {"secret": secret, "username": "anna", "password": "right"}
        assert (await here.ask("POST", "/setup", body)).status == 204
        account = await here.engine.account("anna")
        assert account is not None
        assert account.role is Role.ADMIN
