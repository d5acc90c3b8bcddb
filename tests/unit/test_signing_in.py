"""Users of an application's own: its check of who signs in, over the routes and through the door."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import jwt
import msgspec
import pytest
from structlog.testing import capture_logs

from hubbub import Client, Credentials, Hub, Refused, RequestView, Role, User, signing_in
from hubbub.accounts import Accounts
from hubbub.engine.memory import MemoryEngine
from hubbub.http.app import App
from hubbub.http.site import read_site
from hubbub.otp import OneTimePasswords
from hubbub.testing import Clock, Guest, Stage, at_work, in_a_line
from hubbub.wire.denial import Denied
from hubbub.wire.door import Door, OtpCredentials
from hubbub.wire.request import Request, Response

pytestmark = pytest.mark.anyio

HERE = "192.0.2.1"


class Countings:
    """Nothing was counted."""

    def answer(self, _accept: str) -> tuple[bytes, str]:
        return b"", ""


class Reception:
    """The routes and the door of a hub that has users of an application's own."""

    def __init__(self, stage: Stage) -> None:
        settings = stage.settings
        self.stage = stage
        self.accounts = Accounts(stage.engine, session_ttl_s=3600, max_user_name=32, clock=stage.clock)
        self.otps = OneTimePasswords(stage.engine, ttl_s=5, per_account=0, in_all=0)
        self.door = Door(stage.core, OtpCredentials(self.otps, stage.core.tokens), settings, in_a_line)
        self.app = App(stage.core, self.accounts, self.otps, settings, self.door, Countings(), read_site())

    async def ask(self, path: str, body: object = None, *, method: str = "POST", **headers: str) -> Response:
        sent = b"" if body is None else msgspec.json.encode(body)
        named = {name.replace("_", "-"): [value] for name, value in headers.items()}
        return await self.app.answer(Request(method, path, "", named, HERE, sent))

    async def otp(self, **headers: str) -> str:
        """A one-time password for who shows these headers."""
        return cast("str", told(await self.ask("/otp", **headers))["otp"])

    async def enter(self, otp: str = "", *, protocols: str = "hubbub.v1", **more: str) -> Guest:
        """Come in with a one-time password, if one is given, and other headers."""
        headers = {
            "host": ["chat.example"],
            "sec-websocket-version": ["13"],
            "sec-websocket-key": ["dGhlIHNhbXBsZSBub25jZQ=="],
            "sec-websocket-protocol": [f"{protocols}, otp.{otp}" if otp else protocols],
            **{name: [value] for name, value in more.items()},
        }
        client, _ = await self.door.admit(Request("GET", "/ws", "", headers, HERE))
        guest = Guest(self.stage.core, client)
        client.attach(guest)
        return guest


@asynccontextmanager
async def reception(
    check: Callable[..., Any] | None = None, hub: Hub | None = None, **settings: Any
) -> AsyncIterator[Reception]:
    hub = hub or Hub()
    if check is not None:
        hub.authenticate(check)
    clock = Clock()
    async with at_work(hub, engine=MemoryEngine(clock=clock, wall=clock), clock=clock, **settings) as stage:
        here = Reception(stage)
        try:
            yield here
        finally:
            here.app.close()
            here.accounts.close()


def told(response: Response, status: int = 200) -> Any:
    assert response.status == status, response
    return msgspec.json.decode(response.body) if response.body else None


def error_of(response: Response, status: int) -> str:
    return cast("str", told(response, status)["error"]["code"])


# What a check is asked, and what comes of its answers


async def test_a_check_takes_the_place_of_the_accounts() -> None:
    seen: list[tuple[Credentials, RequestView]] = []

    async def check(credentials: Credentials, request: RequestView) -> User | None:
        seen.append((credentials, request))
        if credentials.password != "right":
            return None
        return User("Zoë, of Sales", role=Role.GUEST, info={"team": "sales"})

    async with reception(check) as here:
        await here.accounts.add("percy", "password of percy")
        assert error_of(await here.ask("/login", {"username": "percy", "password": "password of percy"}), 401)
        right = {"username": "zoe@example.com", "password": "right"}
        answer = told(await here.ask("/login", right, cookie="a=1; b=2; a=3", x_forwarded_proto="https"))
        assert set(answer) == {"otp", "token", "expires_in"}
        credentials, request = seen[-1]
        assert (credentials.username, credentials.password) == ("zoe@example.com", "right")
        assert "right" not in repr(credentials)
        assert (request.method, request.path, request.address) == ("POST", "/login", HERE)
        assert request.cookies == {"a": "1", "b": "2"}
        assert request.headers["x-forwarded-proto"] == "https"
        assert request.scope == {}
        guest = await here.enter(answer["otp"])
        assert guest.client.user == "Zoë, of Sales"
        assert guest.client.role is Role.GUEST
        assert guest.client.info == {"team": "sales"}
        (welcome,) = guest.take()
        assert (welcome["payload"]["user"], welcome["payload"]["role"]) == ("Zoë, of Sales", "guest")
        again = await here.enter(await here.otp(authorization=f"Bearer {answer['token']}"))
        assert again.client.info == {"team": "sales"}
        assert told(await here.ask("/logout", authorization=f"Bearer {answer['token']}"), 204) is None
        assert (guest.close_code, again.close_code) == (4100, 4100)


async def test_a_plain_check_runs_beside_the_loop_and_may_leave_the_request_out() -> None:
    threads: list[threading.Thread] = []

    def check(credentials: Credentials) -> str | None:
        threads.append(threading.current_thread())
        return credentials.username

    async with reception(check) as here:
        answer = told(await here.ask("/login", {"username": "zoe"}))
        guest = await here.enter(answer["otp"])
        assert (guest.client.user, guest.client.role) == ("zoe", Role.MEMBER)
        assert threads[0] is not threading.main_thread()


async def test_an_applications_own_cookie_gets_a_ticket() -> None:
    async def check(credentials: Credentials, request: RequestView) -> User | None:
        assert credentials == Credentials()
        return User("zoe", info={"id": 7}) if request.cookies.get("session") == "good" else None

    async with reception(check) as here:
        assert error_of(await here.ask("/otp"), 401) == "unauthorized"
        stranger = await here.ask("/otp", cookie="session=bad")
        assert error_of(stranger, 401) == "unauthorized"
        assert b"the application knows nobody" in stranger.body
        guessed = await here.ask("/otp", cookie="session=good", authorization="Bearer guess")
        assert error_of(guessed, 401) == "unauthorized"
        assert b"the token is unknown" in guessed.body
        foreign = await here.ask("/otp", cookie="session=good", origin="https://evil.example", host="chat.example")
        assert error_of(foreign, 403) == "forbidden"
        guest = await here.enter(await here.otp(cookie="session=good"))
        assert guest.client.info == {"id": 7}
        await here.stage.core.sessions.end_dead()
        assert guest.closed is None, "the vault is not asked about a session that it never had"
        told(await here.ask("/logout", cookie="session=good"), 204)
        assert guest.close_code == 4100


async def test_a_users_sessions_outside_end_with_a_revocation_on_every_node_and_on_their_way_in() -> None:
    async with reception(lambda _credentials: "zoe") as here:
        guest = await here.enter(await here.otp())
        on_its_way = await here.otp()
        here.stage.clock.go(1)
        await here.stage.hub.revoke("zoe")
        assert guest.close_code == 4100
        with pytest.raises(Exception, match="no valid one-time password"):
            await here.enter(on_its_way)
        here.stage.clock.go(1)
        assert (await here.enter(await here.otp())).closed is None, "the application still vouches for the user"


async def test_another_nodes_revocation_and_disconnection_are_heard() -> None:
    async with reception(lambda _credentials: "zoe") as here:
        first, notices = await here.enter(await here.otp()), here.stage.core.listener
        notices.heard("@users", "disconnected", b'"zoe"')
        assert first.close_code == 4101
        second = await here.enter(await here.otp())
        notices.heard("@users", "signed_out", b'{"user":"yan"}')
        notices.heard("@users", "signed_out", b'{"user":')
        assert second.closed is None
        notices.heard("@users", "signed_out", b'{"user":"zoe"}')
        assert second.close_code == 4100


async def test_a_blocked_account_stays_out_whoever_vouches_for_it() -> None:
    async with reception(lambda credentials: credentials.username or "percy") as here:
        await here.stage.account("percy")
        await here.stage.hub.block("percy")
        assert error_of(await here.ask("/otp"), 403) == "forbidden"
        assert error_of(await here.ask("/login", {"username": "percy", "password": "x"}), 403) == "forbidden"
        assert told(await here.ask("/login", {"username": "zoe", "password": "x"}))


async def test_the_routes_of_accounts_are_not_there() -> None:
    async with reception(lambda _credentials: None) as here:
        for path in ("/setup", "/password", "/invitations", "/signup", "/signup/check"):
            assert error_of(await here.ask(path, {}), 404) == "not_found"
        assert error_of(await here.ask("/setup", method="GET"), 404) == "not_found"


# Checks that fail


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (7, "and not int"),
        ("", "1 to 128 characters"),
        ("x" * 129, "1 to 128 characters"),
        ("a\x00b", "control characters"),
        ("a\u2028b", "control characters"),
        ("a\ud800b", "control characters"),
        (User("zoe", info={"long": "x" * 5000}), "more than 4096 bytes"),
        (User("zoe", info=cast("dict[str, Any]", [7])), "a dict or None, and not list"),
        (User("zoe", role=cast("Role", "boss")), "boss"),
    ],
)
async def test_an_answer_that_is_none_is_ours_to_log_and_not_the_clients_to_see(answer: object, sentence: str) -> None:
    def wrong(_credentials: Credentials) -> object:
        return answer

    async with reception(wrong) as here:
        with capture_logs() as lines:
            assert error_of(await here.ask("/otp"), 500) == "internal"
        (line,) = [line for line in lines if line["event"] == "authenticate failed"]
        assert "wrong" in line["hook"]
        assert sentence in str(line["exc_info"])


async def test_what_a_check_raises_is_told_only_where_it_is_meant_for_the_client() -> None:
    async def check(credentials: Credentials) -> str:
        if credentials.username == "later":
            raise Refused("rate_limited", "come back on Monday", 60)
        raise ZeroDivisionError("a secret of the server")

    async with reception(check) as here:
        later = await here.ask("/login", {"username": "later"})
        assert error_of(later, 429) == "rate_limited"
        assert later.headers["Retry-After"] == "60"
        broken = await here.ask("/login", {"username": "zoe"})
        assert error_of(broken, 500) == "internal"
        assert b"secret of" not in broken.body


async def test_a_check_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_in, "CHECK_S", 0.0)

    async def check(_credentials: Credentials) -> None:
        await asyncio.Event().wait()

    async with reception(check) as here:
        response = await here.ask("/otp")
        assert error_of(response, 503) == "unavailable"
        assert response.headers["Retry-After"] == "5"


async def test_so_many_wait_for_a_check_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_in, "MAX_WAITING", 1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def check(_credentials: Credentials) -> str:
        begun.set()
        await go_on.wait()
        return "zoe"

    async with reception(check) as here:
        first = asyncio.create_task(here.ask("/otp"))
        await begun.wait()
        assert error_of(await here.ask("/otp"), 429) == "rate_limited"
        go_on.set()
        assert told(await first)
        assert told(await here.ask("/otp"))


async def test_who_floods_the_check_waits_behind_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_in, "MAX_WAITING_PER_SOURCE", 2)
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def check(_credentials: Credentials) -> str:
        begun.release()
        await go_on.wait()
        return "zoe"

    async with reception(check) as here:
        asked = [asyncio.create_task(here.ask("/otp")) for _ in range(2)]
        for _ in asked:
            await begun.acquire()
        assert error_of(await here.ask("/otp"), 429) == "rate_limited"
        elsewhere = [
            asyncio.create_task(here.app.answer(Request("POST", "/otp", "", {}, address)))
            for address in ("192.0.2.2", "127.0.0.1", "127.0.0.1", "127.0.0.1")
        ]
        for _ in elsewhere:
            await begun.acquire()
        go_on.set()
        assert [response.status for response in await asyncio.gather(*asked, *elsewhere)] == [200] * 6
        assert (await here.ask("/otp")).status == 200


async def test_a_call_that_was_given_up_keeps_its_thread_until_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_in, "MAX_THREADS", 1)
    begun, go_on, calls = threading.Event(), threading.Event(), []

    def check(credentials: Credentials) -> str | None:
        calls.append(credentials.username)
        if credentials.username == "first":
            begun.set()
            go_on.wait(30)
        return credentials.username

    async with reception(check) as here:
        first = asyncio.create_task(here.ask("/login", {"username": "first"}))
        assert await asyncio.to_thread(begun.wait, 30)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        with monkeypatch.context() as patch:
            patch.setattr(signing_in, "CHECK_S", 0.0)
            assert error_of(await here.ask("/login", {"username": "second"}), 503) == "unavailable"
        assert calls == ["first"], "nothing piles up behind it"
        go_on.set()
        assert told(await here.ask("/login", {"username": "third"}))


async def test_logging_out_again_and_again_is_not_told_to_all_nodes_each_time() -> None:
    async with reception(lambda _credentials: "zoe", jwt_key=SECRET) as here:
        for headers in ({}, {"authorization": f"Bearer {signed('yan')}"}):
            for _ in range(10):
                told(await here.ask("/logout", **headers), 204)
            assert error_of(await here.ask("/logout", **headers), 429) == "rate_limited"
        here.stage.clock.go(1)
        told(await here.ask("/logout"), 204)


async def test_wrong_guesses_are_slowed_down_as_those_at_an_account_are() -> None:
    asked: list[str | None] = []

    async def check(credentials: Credentials) -> None:
        asked.append(credentials.password)

    async with reception(check) as here:
        for guess in range(10):
            assert error_of(await here.ask("/login", {"username": "zoe", "password": f"{guess}"}), 401)
        eleventh = asyncio.create_task(here.ask("/login", {"username": "zoe", "password": "10"}))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(asked) == 10, "the next guess waits"
        eleventh.cancel()
        await asyncio.gather(eleventh, return_exceptions=True)


# Registering


def test_a_check_that_cannot_be_called_is_refused_when_it_is_registered() -> None:
    def none() -> None: ...

    def three(a: object, b: object, c: object) -> None: ...

    def named(*, credentials: object) -> None: ...

    for wrong in (none, three, named):
        with pytest.raises(TypeError, match=r"it is called with \(credentials, request\)"):
            Hub().authenticate(wrong)
    hub = Hub()
    hub.authenticate(lambda credentials, request=None: None)
    with pytest.raises(TypeError, match="there is a check already"):
        hub.authenticate(lambda credentials: None)


async def test_a_hook_at_the_entrance_sees_what_was_said_of_the_user() -> None:
    hub = Hub()
    seen: list[object] = []

    @hub.on_connect
    def look(client: Client) -> None:
        seen.append((client.user, client.role, dict(client.info)))

    async with reception(lambda _credentials: User("zoe", role=Role.ADMIN, info={"id": 7}), hub) as here:
        guest = await here.enter(await here.otp())
        assert seen == [("zoe", Role.ADMIN, {"id": 7})]
        assert await guest.ask("admin_disconnect", {"user": "yan"}) == {"user": "yan", "connections": 0}


# Tokens that others have signed

SECRET = "a secret that is as long as its hash"


def signed(user: str = "zoe", /, **claims: object) -> str:
    return jwt.encode({"sub": user, **claims}, SECRET, "HS256")


async def test_a_signed_token_gets_tickets_and_opens_connections() -> None:
    async with reception(jwt_key=SECRET, jwt_role_claim="role", jwt_info_claim="info") as here:
        token = signed(role="guest", info={"id": 7}, exp=2000)
        bearer = {"authorization": f"Bearer {token}"}
        answer = told(await here.ask("/login", **bearer))
        assert set(answer) == {"otp"}
        guests = [
            await here.enter(answer["otp"]),
            await here.enter(await here.otp(**bearer)),
            await here.enter(protocols=f"hubbub.v1, jwt.{token}"),
            await here.enter(**bearer),
            await here.enter(protocols="", **bearer),
        ]
        for guest in guests:
            client = guest.client
            assert (client.user, client.role, client.info) == ("zoe", Role.GUEST, {"id": 7})
        other = await here.enter(protocols=f"hubbub.v1, jwt.{signed(exp=3000)}")
        told(await here.ask("/logout", **bearer), 204)
        assert [guest.close_code for guest in guests] == [4100] * 5
        assert other.closed is None, "it is of another token"
        with pytest.raises(Denied, match="just ended"):
            await here.enter(**bearer)


async def test_a_signed_token_of_no_use_is_told_why() -> None:
    async with reception(jwt_key=SECRET) as here:
        for path in ("/otp", "/login", "/logout", "/invitations"):
            response = await here.ask(path, authorization=f"Bearer {signed(exp=900)}")
            assert error_of(response, 401) == "unauthorized"
            assert b"has expired" in response.body
            assert response.headers["WWW-Authenticate"] == "Bearer"
        with pytest.raises(Denied, match="has expired"):
            await here.enter(protocols=f"hubbub.v1, jwt.{signed(exp=900)}")
        with pytest.raises(Denied, match="cannot be read"):
            await here.enter(protocols="hubbub.v1, jwt.guess")
        assert error_of(await here.ask("/otp", authorization="Bearer guess"), 401) == "unauthorized"


async def test_without_a_key_no_signed_token_is_taken() -> None:
    async with reception() as here:
        response = await here.ask("/otp", authorization=f"Bearer {signed()}")
        assert error_of(response, 401) == "unauthorized"
        assert b"--jwt-key" in response.body
        with pytest.raises(Denied, match="one-time password"):
            await here.enter(protocols=f"hubbub.v1, jwt.{signed()}")


async def test_a_signed_token_of_a_blocked_account_lets_nobody_in() -> None:
    async with reception(jwt_key=SECRET) as here:
        await here.stage.account("percy")
        guest = await here.enter(protocols=f"hubbub.v1, jwt.{signed('percy')}")
        await here.stage.hub.block("percy")
        assert guest.close_code == 4101
        assert error_of(await here.ask("/otp", authorization=f"Bearer {signed('percy')}"), 403) == "forbidden"
        turned_away = await here.enter(protocols=f"hubbub.v1, jwt.{signed('percy')}")
        assert turned_away.closed == (4103, "this account is blocked")
        assert turned_away.take() == []


async def test_accounts_go_on_beside_signed_tokens_and_a_check_beside_both() -> None:
    async with reception(jwt_key=SECRET) as here:
        await here.accounts.add("percy", "right")
        answer = told(await here.ask("/login", {"username": "percy", "password": "right"}))
        assert await here.otp(authorization=f"Bearer {answer['token']}")
    async with reception(lambda credentials: credentials.username, jwt_key=SECRET) as here:
        assert told(await here.ask("/login", {"username": "yan"}))["token"]
        guest = await here.enter(await here.otp(authorization=f"Bearer {signed()}"))
        assert guest.client.user == "zoe"


# Tokens that expire


async def enter_until(here: Reception, expires: float, **claims: object) -> Guest:
    """Come in with a token that expires in so many seconds."""
    return await here.enter(protocols=f"hubbub.v1, jwt.{signed(exp=here.stage.clock() + expires, **claims)}")


async def test_a_connection_is_told_when_its_token_expires_and_is_closed_a_moment_later() -> None:
    async with reception(jwt_key=SECRET) as here:
        guest, by_otp = (
            await enter_until(here, 60),
            await here.enter(await here.otp(authorization=f"Bearer {signed(exp=1060)}")),
        )
        lasting = await here.enter(protocols=f"hubbub.v1, jwt.{signed()}")
        welcomes = [each.take()[0]["payload"] for each in (guest, by_otp, lasting)]
        assert [welcome.get("expires") for welcome in welcomes] == [60, 60, None]
        await here.stage.pass_time(64.9)
        assert (guest.closed, by_otp.closed) == (None, None)
        await here.stage.pass_time(0.1)
        assert guest.closed == by_otp.closed == (4100, "the token has expired")
        await here.stage.pass_time(1e9)
        assert lasting.closed is None


async def test_another_token_of_the_user_renews_a_connection() -> None:
    async with reception(jwt_key=SECRET, jwt_role_claim="role", jwt_info_claim="info") as here:
        guest = await enter_until(here, 60, role="admin", info={"team": "sales"})
        token = signed(exp=1600, role="guest", info={"floor": 3})
        assert await guest.ask("renew", {"token": token}) == {"expires": 600}
        assert (guest.client.role, guest.client.info) == (Role.GUEST, {"floor": 3}), "what is not said again is over"
        await here.stage.pass_time(604.9)
        assert guest.closed is None
        assert await guest.ask("renew", {"token": signed(exp=1601)}) == {"expires": 0}
        await here.stage.pass_time(1)
        assert guest.closed is None
        assert await guest.ask("renew", {"token": signed()}) == {}
        await here.stage.pass_time(1e9)
        assert guest.closed is None
        last = signed(exp=2e9)
        await guest.ask("renew", {"token": last})
        told(await here.ask("/logout", authorization=f"Bearer {last}"), 204)
        assert guest.close_code == 4100, "it lives by the last token"


async def test_a_renewal_leaves_what_the_application_has_noted() -> None:
    async with reception(jwt_key=SECRET, jwt_info_claim="info") as here:
        guest = await enter_until(here, 60, info={"team": "sales", "is_moderator": True})
        guest.client.info.update(team="support", seen=3)
        await guest.ask("renew", {"token": signed(exp=1600)})
        assert guest.client.info == {"team": "support", "seen": 3}


async def test_a_logout_ends_what_a_token_has_opened_however_its_signature_is_written() -> None:
    async with reception(jwt_key=SECRET) as here:
        token = signed(exp=5000)
        thief = await here.enter(protocols=f"hubbub.v1, jwt.{token}=")
        told(await here.ask("/logout", authorization=f"Bearer {token}"), 204)
        assert thief.close_code == 4100


async def test_what_renews_nothing_is_refused_and_changes_nothing() -> None:
    async with reception(lambda _credentials: "zoe", jwt_key=SECRET) as here:
        guest = await enter_until(here, 60)
        for token, why in (
            (signed("yan"), "another user"),
            (signed(exp=900), "has expired"),
            ("guess", "cannot be read"),
        ):
            with pytest.raises(Refused, match=why) as refused:
                await guest.ask("renew", {"token": token})
            assert refused.value.code == "forbidden"
        by_login = await here.enter(told(await here.ask("/login", {"username": "zoe"}))["otp"])
        with pytest.raises(Refused, match="does not last by a token"):
            await by_login.ask("renew", {"token": signed()})
        ended = signed(exp=5000)
        told(await here.ask("/logout", authorization=f"Bearer {ended}"), 204)
        with pytest.raises(Refused, match="just ended"):
            await guest.ask("renew", {"token": ended})
        await here.stage.pass_time(65)
        assert guest.close_code == 4100


async def test_connections_that_are_gone_do_not_pile_up() -> None:
    async with reception(jwt_key=SECRET) as here:
        token = signed(exp=1e9)
        for _ in range(200):
            (await here.enter(protocols=f"hubbub.v1, jwt.{token}")).hang_up()
        expiry = here.stage.core.expiry
        assert not expiry._ends
        assert len(expiry._heap) <= 65


async def test_without_a_key_renewing_is_an_event_like_any_other() -> None:
    async with reception() as here:
        guest = await here.stage.client("zoe")
        with pytest.raises(Refused, match="unknown_type"):
            await guest.ask("renew", {"token": signed()})


# Any name


async def test_a_user_is_shown_as_the_application_says_and_others_are_told_when_that_changes() -> None:
    names = {"7": "Zoë of Sales", "8": "Yan"}

    async def check(credentials: Credentials, request: RequestView) -> User | None:
        user = credentials.username or request.cookies["user"]
        return User(user, display_name=names.get(user, ""))

    async with reception(check) as here:
        zoe = await here.enter(await here.otp(cookie="user=7"))
        assert zoe.take()[0]["payload"]["name"] == "Zoë of Sales"
        await zoe.join("lunch")
        yan = await here.enter(told(await here.ask("/login", {"username": "8"}))["otp"])
        await yan.join("lunch")
        assert await yan.ask("profiles", {"users": ["7", "8", "9"]}) == {"names": {"7": "Zoë of Sales", "8": "Yan"}}
        await here.stage.settle()
        yan.take()
        names["7"] = "Zoë of Support"
        await here.otp(cookie="user=7")
        changed = {"type": "profile_changed", "payload": {"user": "7", "name": "Zoë of Support"}}
        assert changed in await yan.hear()
        await here.otp(cookie="user=7")
        assert await yan.hear() == []
        names["7"] = ""
        await here.otp(cookie="user=7")
        assert changed | {"payload": {"user": "7", "name": "7"}} in await yan.hear()


async def test_two_sessions_with_two_names_for_one_user_do_not_have_everybody_told_all_the_time() -> None:
    async def check(_credentials: Credentials, request: RequestView) -> User | None:
        return User("7", display_name=request.cookies["name"])

    async with reception(check) as here:
        zoe = await here.enter(await here.otp(cookie="name=0"))
        await here.stage.settle()
        zoe.take()
        for number in range(1, 41):
            await here.otp(cookie=f"name={number}")
            await here.stage.settle()
        heard = [event["payload"]["name"] for event in zoe.take() if event["type"] == "profile_changed"]
        assert heard == ["1", "2", "3", "4"]
        await here.stage.pass_time(30)
        await here.otp(cookie="name=last")
        assert {"type": "profile_changed", "payload": {"user": "7", "name": "last"}} in await zoe.hear()


async def test_an_account_is_not_shown_by_another_name_because_somebody_vouches_for_it() -> None:
    async with reception(lambda _credentials: User("percy", display_name="Somebody")) as here:
        await here.stage.account("percy")
        percy = await here.enter(await here.otp())
        assert percy.take()[0]["payload"]["name"] == "percy"
        for _ in range(10):
            await here.otp()
        assert await percy.hear() == []
        changed = await percy.ask("set_profile", {"name": "Percy P"})
        assert changed["name"] == "Percy P", "what others try with its name is not its own trying"


async def test_users_of_any_name_have_rooms_of_two_and_nobody_else_gets_into_them() -> None:
    async with reception(lambda credentials: credentials.username) as here:

        async def enter(name: str) -> Guest:
            return await here.enter(told(await here.ask("/login", {"username": name}))["otp"])

        zoe, crafty, capital = await enter("zoë@example.com"), await enter("bob,zoë@example.com"), await enter("Bob")
        room = "dm:bob,zo%C3%AB%40example.com"
        await zoe.join(room)
        await zoe.ask("send_message", {"room": room, "message": "hello"})
        bob = await enter("bob")
        (welcome,) = [event for event in bob.take() if event["type"] == "welcome"]
        assert [entry["room"] for entry in welcome["payload"]["rooms"]] == [room]
        answer = await bob.join(room, history=10)
        assert [message["message"] for message in answer["messages"]] == ["hello"]
        for other in (crafty, capital):
            with pytest.raises(Refused, match="open to the two users"):
                await other.join(room)
        for wrong in ("dm:bob,zoë@example.com", "dm:bob,zo%c3%ab%40example.com", "dm:%62ob,zo%C3%AB%40example.com"):
            with pytest.raises(Refused, match="is not a room of two users"):
                await bob.join(wrong)


async def test_where_only_accounts_sign_in_a_room_with_nobody_is_not_made() -> None:
    async with reception() as here:
        percy = await here.stage.client("percy")
        with pytest.raises(Refused, match="no_such_room"):
            await percy.join("dm:nobody%40example.com,percy")
