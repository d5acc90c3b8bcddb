"""Users of an application's own, who sign in by its tokens: on a clock that goes by itself, and over HTTP."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hubbub.errors import AuthError, ConnectionClosed, Rejected, SessionEnded
from hubbub.sdk.client import connect
from hubbub.sdk.messages import Offline, Online
from hubbub.sdk.renewal import renewal_pause
from hubbub.sdk.session import HttpRefused, ServerAddress
from hubbub.sdk.tokens import NoToken, Token, TokenSession
from hubbub.sdk.transport import TransportClosed
from hubbub.sdk.way_in import NetworkWayIn, session_with
from sdk_stage import FakeServer, client, refusal, run
from unit.test_sdk_session import answer, desk

NO = {"error": {"code": "unauthorized", "message": "this token has expired"}}


def now() -> float:
    return asyncio.get_running_loop().time()


def tokens(*given: str | None) -> tuple[Callable[[], Awaitable[Any]], list[Any]]:
    """A function that gives these, the last one ever again; and what it has given."""
    asked: list[Any] = []

    async def give() -> Any:
        asked.append(given[min(len(asked), len(given) - 1)])
        return asked[-1]

    return give, asked


async def tickets(token: Token, *good: str) -> tuple[list[str], int]:
    """A ticket for a token at a server that takes these: the tokens that were sent, and how many tickets there were."""
    sent: list[str] = []

    def respond(path: str, headers: dict[str, str]) -> bytes:
        assert path == "/otp"
        sent.append(headers["authorization"].removeprefix("Bearer "))
        return answer(200, {"otp": "o"}) if sent[-1] in good else answer(401, NO)

    async with desk(respond) as at:
        session = TokenSession(ServerAddress(f"http://127.0.0.1:{at.port}"), token)
        try:
            await session.ticket()
        except AuthError as error:
            assert str(error) == "this token has expired"
            return sent, 0
        finally:
            await session.log_out()
        return sent, 1


# Getting in


@pytest.mark.anyio
async def test_a_token_is_a_string_or_what_a_function_gives_plain_or_async() -> None:
    give, _ = tokens("t")
    forms: tuple[Token, ...] = ("t", lambda: "t", give)
    for token in forms:
        assert await tickets(token, "t") == (["t"], 1)


@pytest.mark.anyio
async def test_a_token_that_has_run_out_on_its_way_is_asked_for_once_more_and_the_same_one_is_not_sent_twice() -> None:
    assert await tickets(tokens("old", "new")[0], "new") == (["old", "new"], 1)
    assert await tickets(tokens("old", "older", "new")[0], "new") == (["old", "older"], 0)
    assert await tickets(tokens("old")[0]) == (["old"], 0)
    assert await tickets("old") == (["old"], 0)


@pytest.mark.anyio
async def test_a_server_that_is_busy_is_not_asked_with_another_token() -> None:
    give, asked = tokens("a", "b")
    async with desk(lambda path, headers: answer(429, None, "Retry-After: 3")) as at:
        with pytest.raises(HttpRefused) as busy:
            await TokenSession(ServerAddress(f"http://127.0.0.1:{at.port}"), give).ticket()
    assert (busy.value.retry_after, asked) == (3, ["a"])


@pytest.mark.anyio
async def test_where_nobody_is_signed_in_nothing_is_sent() -> None:
    nobody: tuple[Token, ...] = (lambda: None, tokens(None)[0], lambda: "")
    for token in nobody:
        with pytest.raises(AuthError, match="nobody is signed in"):
            await TokenSession(ServerAddress("http://127.0.0.1:1"), token).ticket()


@pytest.mark.anyio
async def test_nobody_can_put_more_than_a_token_into_the_request() -> None:
    for token in ("t\r\nX-Evil: 1", "t\n", "t t", "ü", "\0", lambda: b"t"):
        with pytest.raises(AuthError, match="what was given is no token"):
            await TokenSession(ServerAddress("http://127.0.0.1:1"), token).ticket()  # type: ignore[arg-type]  # bytes


def test_a_function_that_never_answers_is_given_up() -> None:
    async def story() -> None:
        async def never() -> str:
            await asyncio.Event().wait()
            return "t"

        began = now()
        with pytest.raises(NoToken):
            await TokenSession(ServerAddress("http://127.0.0.1:1"), never).token()
        assert now() - began == pytest.approx(10)

    run(story())


@pytest.mark.anyio
async def test_what_the_function_raises_is_raised_at_the_start() -> None:
    def broken() -> str:
        raise LookupError("no such session")

    with pytest.raises(LookupError, match="no such session"):
        async with connect("http://127.0.0.1:1", token=broken):
            pass


def test_a_token_that_is_a_string_cannot_be_another_one() -> None:
    server = ServerAddress("http://localhost")
    assert NetworkWayIn(server, session_with(server, None, None, "t")).new_token is None
    assert NetworkWayIn(server, session_with(server, None, None, lambda: "t")).new_token is not None


def test_who_signs_in_is_said_in_one_way() -> None:
    for given in (
        {},
        {"user": "percy"},
        {"user": "percy", "password": "123", "token": "t"},
        {"user": "p", "token": "t"},
    ):
        with pytest.raises(ValueError, match="a name and a password, or token="):
            connect("http://localhost", **given)  # type: ignore[arg-type]  # the keys are the names of str arguments


@pytest.mark.anyio
async def test_nothing_prints_the_token() -> None:
    async def give() -> str:
        raise RuntimeError("mine")

    assert "secret" not in repr(connect("http://localhost", token="secret"))
    with pytest.raises(NoToken) as failed:
        await TokenSession(ServerAddress("http://127.0.0.1:1"), give).token()
    assert str(failed.value) == "there is no token: RuntimeError('mine')"


# Renewing


def test_a_token_is_renewed_on_its_connection_before_it_runs_out() -> None:
    async def story() -> None:
        server = FakeServer()
        server.expires, (server.new_token, asked) = 60.0, tokens("a", "b", "c")
        async with client(server):
            await asyncio.sleep(47.9)
            assert server.requests == []
            await asyncio.sleep(60)
            assert server.asked("renew") == [{"token": "a"}, {"token": "b"}]
            assert (asked, len(server.openings)) == (["a", "b"], 1)

    run(story())


def test_a_connection_that_does_not_end_or_cannot_be_renewed_is_not_renewed() -> None:
    async def story() -> None:
        lasting, once = FakeServer(), FakeServer()
        lasting.new_token, once.expires = tokens("a")[0], 10.0
        for server in (lasting, once):
            async with client(server):
                await asyncio.sleep(1000)
            assert server.asked("renew") == []

    run(story())


def test_what_could_not_be_renewed_is_tried_again_in_what_is_left_and_no_longer() -> None:
    async def story() -> None:
        server, at = FakeServer(), []

        async def failing() -> str:
            at.append(round(now() - began, 2))
            raise NoToken

        began = now()
        server.expires, server.new_token = 100.0, failing
        async with client(server):
            await asyncio.sleep(1000)
        assert at == [80, 96, 99.2, 100.2]

    run(story())


def test_a_token_that_is_refused_is_tried_again_with_the_next_one() -> None:
    async def story() -> None:
        server = FakeServer()
        server.expires, (server.new_token, asked) = 100.0, tokens("another user's", "good")
        server.refusals["renew"] = [refusal("forbidden")]
        async with client(server) as chat:
            await asyncio.sleep(99)
            assert (asked, chat.is_online) == (["another user's", "good"], True)

    run(story())


def test_an_answer_that_never_comes_holds_up_neither_messages_nor_the_next_connection() -> None:
    async def story() -> None:
        server = FakeServer()
        server.expires, server.new_token = 10.0, tokens("a", "b")[0]
        server.deaf_to.add("renew")
        async with client(server) as chat:
            await chat.join("general")
            await asyncio.sleep(9)
            assert (await chat.send("general", "hi")).seq == 1
            server.drop()
            await asyncio.sleep(9)
            assert server.asked("renew") == [{"token": "a"}, {"token": "b"}], "the old one is not repeated"
            assert (await chat.send("general", "ho")).seq == 2

    run(story())


@pytest.mark.parametrize(
    ("left_s", "random", "pause_s"),
    [(100, 0, 70), (100, 1, 90), (1.0, 0.5, 1), (0.001, 0, 1), (1e12, 0, 86400), (math.inf, 0, 86400)],
)
def test_renewals_are_spread_and_never_in_a_hurry(left_s: float, random: float, pause_s: float) -> None:
    assert renewal_pause(left_s, random) == pytest.approx(pause_s)


# Ends


def test_a_session_that_has_run_out_is_gone_on_with_where_there_may_be_another_token() -> None:
    async def story() -> None:
        server = FakeServer()
        server.new_token = tokens("a")[0]
        async with client(server) as chat:
            await chat.join("general")
            heard = chat.events()
            server.drop(4100)
            server.say("general", "meanwhile")
            assert [type(await anext(heard)) for _ in range(2)] == [Offline, Online]
            assert (await anext(chat)).text == "meanwhile"

    run(story())


def test_where_there_is_no_token_any_more_the_conversation_is_over() -> None:
    async def story() -> None:
        server = FakeServer()
        server.new_token = tokens("a")[0]
        async with client(server) as chat:
            server.doors.append(AuthError("nobody is signed in"))
            server.drop(4100)
            with pytest.raises(AuthError, match="nobody is signed in"):
                await anext(chat)

    run(story())


def test_a_token_that_cannot_be_had_for_now_is_a_reason_to_try_again() -> None:
    async def story() -> None:
        server = FakeServer()
        server.new_token = tokens("a")[0]
        async with client(server) as chat:
            await chat.join("general")
            server.doors += [NoToken(), NoToken()]
            server.drop()
            assert (await chat.send("general", "hi")).seq == 1
            assert len(server.openings) == 4

    run(story())


def test_another_users_token_does_not_go_on_with_the_conversation() -> None:
    async def story() -> None:
        server = FakeServer()
        server.new_token = tokens("a")[0]
        async with client(server) as chat:
            server.user = "alice"
            server.drop()
            with pytest.raises(AuthError, match="a conversation of percy"):
                await anext(chat)
            assert chat.user == "percy"

    run(story())


def test_other_endings_end_a_conversation_with_tokens_too() -> None:
    async def story() -> None:
        server = FakeServer()
        server.new_token = tokens("a")[0]
        async with client(server) as chat:
            server.drop(4101)
            with pytest.raises(ConnectionClosed):
                await anext(chat)
        plain = FakeServer()
        async with client(plain) as chat:
            plain.drop(4100)
            with pytest.raises(SessionEnded):
                await anext(chat)

    run(story())


def test_who_is_turned_away_is_told_why_at_the_start_and_later() -> None:
    async def story() -> None:
        server = FakeServer()
        server.doors.append(TransportClosed(4103, "The cinema is full."))
        with pytest.raises(Rejected, match="The cinema is full") as refused:
            async with client(server):
                pass
        assert (refused.value.code, len(server.openings)) == ("forbidden", 1)
        server = FakeServer()
        async with client(server) as chat:
            server.doors.append(TransportClosed(4103, "The cinema is full."))
            server.drop()
            with pytest.raises(Rejected, match="The cinema is full"):
                await anext(chat)
            assert len(server.openings) == 2

    run(story())
