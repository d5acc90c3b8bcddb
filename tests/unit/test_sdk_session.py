"""Getting in over HTTP, with a server that speaks just enough of it."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hubbub.errors import AuthError, ProtocolError
from hubbub.sdk.client import connect
from hubbub.sdk.session import MAX_ANSWER, HttpRefused, Login, ServerAddress, Session, failure

pytestmark = pytest.mark.anyio

Respond = Callable[[str, dict[str, str]], bytes]


def answer(status: int, body: object = None, *headers: str) -> bytes:
    text = b"" if body is None else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(text)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + text


class Desk:
    """Answers requests; `asked` is what came."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
        path = lines[0].split(" ")[1]
        self.asked.append((path, headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(self.respond(path, headers))
        await writer.drain()
        writer.close()

    def session(self) -> Session:
        return Session(ServerAddress(f"http://127.0.0.1:{self.port}/chat/"), Login("percy", "secret"))


@asynccontextmanager
async def desk(respond: Respond) -> AsyncIterator[Desk]:
    found = Desk(respond)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


async def test_one_login_gives_tickets_until_it_has_run_out_then_there_is_another() -> None:
    has_run_out = False

    def respond(path: str, headers: dict[str, str]) -> bytes:
        if path == "/chat/login":
            return answer(200, {"otp": "first", "token": "t", "expires_in": 60})
        assert headers["authorization"] == "Bearer t"
        if has_run_out:
            return answer(401, {"error": {"code": "unauthorized", "message": "no"}})
        return answer(200, {"otp": "next"})

    async with desk(respond) as at:
        session = at.session()
        assert [await session.ticket() for _ in range(3)] == ["first", "next", "next"]
        has_run_out = True
        assert await session.ticket() == "first"
        await session.log_out()
        await session.log_out()
        paths = [path.removeprefix("/chat") for path, _, _ in at.asked]
        assert paths == ["/login", "/otp", "/otp", "/otp", "/login", "/logout"]
        assert json.loads(at.asked[0][2]) == {"username": "percy", "password": "secret"}
        assert "authorization" not in at.asked[0][1]


async def test_a_wrong_password_is_told_from_a_server_that_is_busy() -> None:
    answers = [
        answer(401, {"error": {"code": "unauthorized", "message": "wrong name or password"}}),
        answer(429, {"error": {"code": "rate_limited", "message": "slowly"}}, "Retry-After: 7"),
        answer(503, None, "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"),
    ]
    async with desk(lambda path, headers: answers.pop(0)) as at:
        with pytest.raises(AuthError, match="wrong name or password"):
            await at.session().ticket()
        with pytest.raises(HttpRefused, match="slowly") as busy:
            await at.session().ticket()
        assert (busy.value.retry_after, busy.value.is_for_now) == (7, True)
        with pytest.raises(HttpRefused, match="no reason given") as unclear:
            await at.session().ticket()
        assert unclear.value.retry_after == 0


async def test_a_server_that_speaks_no_tls_is_told() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer(400))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLError) as refused:
            await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context())
    assert "the URL begins with http://" in failure(refused.value)
    assert failure(TimeoutError()) == "TimeoutError"


async def test_a_url_without_the_path_of_a_mounted_hub_is_told() -> None:
    answers = [answer(404, {"detail": "Not Found"}), answer(405)]
    async with desk(lambda path, headers: answers.pop(0)) as at:
        for _ in range(2):
            with pytest.raises(HttpRefused, match="ends in its path, such as /chat"):
                await at.session().ticket()


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ProtocolError),
        (answer(200, {"hello": "world"}), ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * (MAX_ANSWER + 1), ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", ConnectionResetError),
        (b"", ConnectionResetError),
    ],
)
async def test_what_is_no_such_server_is_told_from_one_that_broke_off(raw: bytes, error: type[Exception]) -> None:
    async with desk(lambda path, headers: raw) as at:
        with pytest.raises(error):
            await at.session().ticket()


async def test_an_answer_may_come_in_chunks_or_end_with_the_connection() -> None:
    body = b'{"otp": "o", "token": "t"}'
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    to_the_end = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body
    for raw in (chunked, to_the_end):
        async with desk(lambda path, headers, raw=raw: raw) as at:  # type: ignore[misc]  # a default has no type
            assert await at.session().ticket() == "o"


async def test_logging_out_from_a_server_that_is_gone_is_no_error() -> None:
    async with desk(lambda path, headers: answer(200, {"otp": "o", "token": "t"})) as at:
        session = at.session()
        await session.ticket()
    await session.log_out()


@pytest.mark.parametrize(
    ("url", "ws_url"),
    [
        ("https://localhost:8080", "wss://localhost:8080/ws"),
        ("https://example.com/", "wss://example.com/ws"),
        ("http://[::1]:80/chat/", "ws://[::1]:80/chat/ws"),
        ("http://user@example.com", "ws://example.com/ws"),
    ],
)
def test_the_websocket_is_beside_the_login(url: str, ws_url: str) -> None:
    assert ServerAddress(url).ws_url == ws_url


@pytest.mark.parametrize("url", ["localhost:8080", "wss://localhost", "https://", "ftp://localhost"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="write https://host:port"):
        connect(url, "percy", "123")


def test_trust_is_given_once_and_only_where_there_is_something_to_trust() -> None:
    context = ssl.create_default_context()
    with pytest.raises(ValueError, match="plain HTTP"):
        connect("http://localhost", "percy", "123", ssl=context)
    with pytest.raises(ValueError, match="not both"):
        connect("https://localhost", "percy", "123", ssl=context, ca_file="ca.pem")


def test_a_server_does_not_import_the_client() -> None:
    check = "import sys, hubbub, hubbub.cli; assert not {'hubbub.sdk', 'websockets', 'textual'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_nothing_prints_the_password() -> None:
    assert "secret" not in repr(Login("percy", "secret"))
    assert "secret" not in repr(connect("http://localhost", "percy", "secret"))
