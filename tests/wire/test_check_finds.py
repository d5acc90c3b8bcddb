"""`hubbub check` finds what is wrong: a meddler stands before a good server and breaks one promise at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from hubbub.check import Report, Target, Verdict, run, runner
from hubbub.check.promises import PROMISES
from hubbub.errors import HubbubError
from hubbub.sdk.session import HttpRefused, Login
from servers import ServerProcess

TEXT = 0x1

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found does not depend on how busy the machine is."""
    monkeypatch.setattr(runner, "TOTAL_S", 300.0)


class Meddler:
    """Passes on what a server and its clients say, but for what its subclasses change."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.pass_on(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        server, to_server = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            to_server.write((await self.request(head)).encode("latin-1"))
            if "upgrade: websocket" not in head.lower():
                found = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                to_server.write(await reader.readexactly(int(found[1]) if found else 0))
                writer.write(self.answer(head, await server.read()))
                await writer.drain()
                return
            answer = self.upgraded(head, await server.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            upward = asyncio.create_task(pump(reader, to_server))
            try:
                if b" 101 " in answer.partition(b"\r\n")[0]:
                    await self.pump_frames(server, writer, is_v1=b"hubbub.v1" in answer)
                else:
                    writer.write(await server.read())
            finally:
                upward.cancel()
        finally:
            to_server.close()
            with contextlib.suppress(OSError):
                await to_server.wait_closed()

    async def pump_frames(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_v1: bool) -> None:
        memory: dict[str, Any] = {"is_v1": is_v1}
        while True:
            first, size = await reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
            payload = await reader.readexactly(size)
            said = [payload]
            if first & 0xF == TEXT:
                said = [json.dumps(event).encode() for event in self.said(json.loads(payload), memory)]
            for each in said:
                length = struct.pack("!B", len(each)) if len(each) < 126 else struct.pack("!BH", 126, len(each))
                writer.write(bytes([first]) + length + each)

    # What subclasses change

    async def request(self, head: str) -> str:
        """A request's head, on its way to the server."""
        return head

    def answer(self, head: str, answer: bytes) -> bytes:
        """The answer to a request that is no upgrade."""
        return answer

    def upgraded(self, head: str, answer: bytes) -> bytes:
        """The answer to an upgrade."""
        return answer

    def said(self, event: dict[str, Any], memory: dict[str, Any]) -> list[dict[str, Any]]:
        """An event of the server, and what goes to the client; `memory` is the connection's."""
        return [event]


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The URL of a server that does as the handler says."""
    connections: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        await handler(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.sleep(0)  # in which their transports close


def check(handler: Handler, *names: str) -> Report:
    """Hold a server to these promises, or to all that need no patience."""

    async def main() -> Report:
        async with serving(handler) as url:
            target = Target(url, None, Login("percy", "123"), Login("alice", "123"))
            chosen = [promise for promise in PROMISES if not names or promise.name in names]
            return await run(target, promises=chosen)

    return asyncio.run(main())


def assert_finds(report: Report, name: str, *words: str) -> None:
    """This one failed, and its line says these words."""
    (result,) = (result for result in report.results if result.promise.name == name)
    assert result.outcome is Verdict.FAIL, result
    for word in words:
        assert word in f"sent: {result.sent}; came: {result.came}; wanted: {result.wanted}", result


def test_a_meddler_who_changes_nothing_is_not_noticed(server: ServerProcess) -> None:
    report = check(Meddler(server.port))
    assert [result for result in report.results if result.outcome is not Verdict.PASS] == []


# Servers that speak classic only


class GoLike(Meddler):
    """Knows no subprotocol, no token and no names in the URL, and closes nothing politely."""

    async def request(self, head: str) -> str:
        head = re.sub(r"Sec-WebSocket-Protocol:.*\r\n", "", head, flags=re.IGNORECASE)
        head = head.replace("&name=somebody", "")
        return re.sub(r"^POST /otp ", "POST /no-such-page ", head)

    def answer(self, head: str, answer: bytes) -> bytes:
        start, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith("POST /login") or b" 200 " not in start:
            return answer
        body = json.dumps({"otp": json.loads(body)["otp"]}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class NodeLike(GoLike):
    """Sends nobody what they said themselves."""

    async def request(self, head: str) -> str:
        head = await super().request(head)
        return re.sub(r"^GET (\S*\?otp=\S*)", r"GET \1&name=page", head)


def test_a_server_like_the_go_one_is_judged_by_the_classic_part(server: ServerProcess) -> None:
    report = check(GoLike(server.port))
    assert report.is_good, [result for result in report.results if result.outcome is Verdict.FAIL]
    assert not report.has_v1
    left_out = {result.promise.name: result.why for result in report.results if result.outcome is Verdict.NOT_OFFERED}
    assert "Go" in left_out.pop("classic-no-echo")
    assert set(left_out) == {result.promise.name for result in report.results if result.promise.scope.value == "v1"}
    assert all("hubbub.v1" in why for why in left_out.values())


def test_a_server_like_the_node_one_may_send_no_echo(server: ServerProcess) -> None:
    names = [promise.name for promise in PROMISES if promise.group in ("classic", "closing")]
    report = check(NodeLike(server.port), *names)
    assert report.is_good, [result for result in report.results if result.outcome is Verdict.FAIL]
    (echo,) = (result for result in report.results if result.promise.name == "classic-echo")
    assert "Node" in echo.why


class EchoesAnything(GoLike):
    """Takes the first subprotocol that is offered, as some libraries do unless told otherwise."""

    def upgraded(self, head: str, answer: bytes) -> bytes:
        offered = re.search(r"Sec-WebSocket-Protocol: ([^,\r]+)", head, re.IGNORECASE)
        return answer[:-2] + f"Sec-WebSocket-Protocol: {offered[1]}\r\n\r\n".encode() if offered else answer


def test_an_echo_of_anything_is_no_offer_of_v1(server: ServerProcess) -> None:
    report = check(EchoesAnything(server.port), "classic-message", "welcome-first")
    assert [result.outcome for result in report.results] == [Verdict.NOT_OFFERED, Verdict.PASS]


# Servers that break a promise


class BurnsNoTicket(Meddler):
    """Lets a one-time password in again."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__(server.port)
        self.server = server
        self.seen: Counter[str] = Counter()

    async def request(self, head: str) -> str:
        if (found := re.search(r"otp=([\w-]{8,})", head)) is None:
            return head
        self.seen[found[1]] += 1
        if self.seen[found[1]] == 1:
            return head
        fresh = (await asyncio.to_thread(self.server.login))["otp"]
        return head.replace(found[1], fresh)


def test_a_password_that_works_twice_is_found(server: ServerProcess) -> None:
    assert_finds(check(BurnsNoTicket(server), "otp-once"), "otp-once", "GET /ws?otp=...", "101: let in")


class SeesNoOrigin(Meddler):
    async def request(self, head: str) -> str:
        return re.sub(r"Origin:.*\r\n", "", head, flags=re.IGNORECASE)


def test_a_foreign_page_that_is_let_in_is_found(server: ServerProcess) -> None:
    report = check(SeesNoOrigin(server.port), "origin-foreign", "origin-own")
    assert_finds(report, "origin-foreign", "https://elsewhere.invalid", "let in")
    assert report.count(Verdict.FAIL) == 1


class LiesAboutWho(Meddler):
    def said(self, event: dict[str, Any], memory: dict[str, Any]) -> list[dict[str, Any]]:
        if event["type"] == "new_message":
            event["payload"]["from"] = "mallory"
        return [event]


def test_a_lie_about_who_is_found(server: ServerProcess) -> None:
    report = check(LiesAboutWho(server.port), "classic-from", "classic-message", "no-lies")
    assert_finds(report, "classic-from", "somebody else", "mallory", "from alice")
    assert_finds(report, "no-lies", "mallory", "'alice'")
    assert report.count(Verdict.FAIL) == 2


class AcksLate(Meddler):
    """Sends the copy of a message before the ack."""

    def said(self, event: dict[str, Any], memory: dict[str, Any]) -> list[dict[str, Any]]:
        if event["type"] == "ack" and {"seq", "sent"} <= set(event["payload"]):
            memory["ack"] = event
            return []
        if event["type"] == "new_message" and "ack" in memory:
            return [event, memory.pop("ack")]
        return [event]


def test_an_ack_after_the_copy_is_found(server: ServerProcess) -> None:
    report = check(AcksLate(server.port), "ack-first", "order")
    assert_finds(report, "ack-first", "send_message", '"new_message"', "the ack before it")
    assert report.count(Verdict.FAIL) == 1


class RepeatsSeqs(Meddler):
    def said(self, event: dict[str, Any], memory: dict[str, Any]) -> list[dict[str, Any]]:
        if event["type"] == "new_message" and memory["is_v1"]:
            event["payload"]["seq"] = min(event["payload"]["seq"], 7)
        return [event]


def test_a_seq_that_comes_twice_is_found(server: ServerProcess) -> None:
    report = check(RepeatsSeqs(server.port), "order")
    assert_finds(report, "order", "6, 7, 7, 7", "rise by exactly one")


class Scrambles(Meddler):
    """Tells two members different things."""

    def said(self, event: dict[str, Any], memory: dict[str, Any]) -> list[dict[str, Any]]:
        if event["type"] == "welcome":
            memory["user"] = event["payload"]["user"]
        if event["type"] == "new_message" and memory.get("user") == "alice":
            event["payload"]["message"] += "!"
        return [event]


def test_two_orders_are_found(server: ServerProcess) -> None:
    assert_finds(check(Scrambles(server.port), "order"), "order", "to the other", "the same order")


class AnswersClassic(Meddler):
    """Tells the earlier pages of their errors."""

    def said(self, event: dict[str, Any], memory: dict[str, Any]) -> list[dict[str, Any]]:
        is_v1 = memory["is_v1"]
        return [event] if is_v1 else [{"type": "error", "payload": {"code": "bad_json"}}, event]


def test_another_type_to_a_classic_page_is_found(server: ServerProcess) -> None:
    names = ("classic-message", "classic-nonsense", "classic-unknown", "classic-binary", "classic-only-messages")
    report = check(AnswersClassic(server.port), *names)
    for name in names[1:]:
        assert_finds(report, name, "bad_json", "nothing of the kind, ever")
    assert report.count(Verdict.FAIL) == 4


class ForgetsKeys(Meddler):
    """Answers the repeat of a message with another seq, and as recovered what is not."""

    def said(self, event: dict[str, Any], memory: dict[str, Any]) -> list[dict[str, Any]]:
        if event["type"] == "ack" and "sent" in event["payload"]:
            memory["acks"] = memory.get("acks", 0) + 1
            event["payload"]["seq"] += memory["acks"] - 1
        if event["type"] == "ack" and event["payload"].get("recovered"):
            event["payload"]["messages"].pop()
        return [event]


def test_a_repeat_and_a_hole_are_found(server: ServerProcess) -> None:
    report = check(ForgetsKeys(server.port), "once", "resume", "other-epoch")
    assert_finds(report, "once", "check 1", "wanted: seq")
    assert_finds(report, "resume")
    assert report.count(Verdict.FAIL) == 2


class NoPoliteClose(Meddler):
    """Cuts the line where it should say why."""

    async def pump_frames(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_v1: bool) -> None:
        while (data := await reader.read(65536)) and data[0] != 0x88:
            writer.write(data)


def test_a_cut_instead_of_a_close_is_found(server: ServerProcess) -> None:
    names = ("close-rsv", "close-unmasked", "close-binary", "close-utf8", "close-large")
    report = check(NoPoliteClose(server.port), "ping", *names)
    for name, code in zip(names, (1002, 1002, 1003, 1007, 1009), strict=True):
        assert_finds(report, name, "without a close frame", f"a close with {code}")
    assert report.count(Verdict.FAIL) == 5


def test_what_is_found_is_for_all_to_see(server: ServerProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hubbub", "check", "--user", "percy", "--junit", "report.xml"]

    async def main() -> tuple[int | None, str, str]:
        async with serving(LiesAboutWho(server.port)) as url:
            process = await asyncio.create_subprocess_exec(
                *(*command, url),
                cwd=tmp_path,
                env=dict(os.environ) | {"HUBBUB_PASSWORD": "123"},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            return process.returncode, out.decode(), err.decode()

    code, out, err = asyncio.run(main())
    assert (code, err) == (1, "")
    assert re.search(r"^fail +classic-from: .*; sent: .*; came: .*mallory.*; wanted: from percy", out, re.MULTILINE)
    assert re.search(r"^pass +login: ", out, re.MULTILINE)
    failures = ET.parse(tmp_path / "report.xml").findall("testsuite/testcase/failure")
    assert len(failures) == len(re.findall(r"^fail ", out, re.MULTILINE)) > 2
    assert any("mallory" in failure.get("message", "") for failure in failures)


# Servers that are none


class Sabotaged(Meddler):
    """Lets in, and then answers an upgrade in a way of its own."""

    def __init__(self, port: int, way: str) -> None:
        super().__init__(port)
        self.way = way

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.way == "garbage" or self.way == "no JSON":
            await super().pass_on(reader, writer)
            return
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            await super().pass_on(rejoined(head, reader), writer)
        elif self.way == "silence":
            await reader.read()
        elif self.way == "drip":
            writer.write(b"HTTP/1.1 101 Switching")
            await reader.read()
        elif self.way == "redirect":
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
        elif self.way == "no HTTP":
            writer.write(b"\x1b[2J\xff\xfe\r\n\r\n" * 1000)

    async def pump_frames(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_v1: bool) -> None:
        text = "[" * 100 if self.way == "no JSON" else '\x1b[31m{"type": "\\ud800", "payload": 5}'
        data = text.encode() if self.way == "no JSON" else b"\xff\x00\x83" + text.encode()
        while await reader.read(65536):
            writer.write((b"\x81" + bytes([len(data)]) if self.way == "no JSON" else b"") + data)


def rejoined(head: bytes, rest: asyncio.StreamReader) -> asyncio.StreamReader:
    """A reader that begins anew."""
    rest._buffer[:0] = head  # type: ignore[attr-defined]  # there is no other way to give bytes back
    return rest


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that are reached soon."""
    monkeypatch.setattr(runner, "CHECK_S", 0.3)
    monkeypatch.setattr(runner, "TOTAL_S", 4.0)
    monkeypatch.setattr(runner, "LEARN_S", 0.5)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("way", ["silence", "close", "drip", "redirect", "no HTTP", "garbage", "no JSON"])
def test_whatever_a_server_does_there_is_a_line_for_it(way: str, server: ServerProcess) -> None:
    report = check(Sabotaged(server.port, way), "otp-once", "classic-echo", "classic-message", "ping", "join")
    assert not report.is_good
    assert_finds(report, "classic-message")
    assert len(report.results) == 5


@pytest.mark.usefixtures("hasty")
def test_a_hung_server_ends_the_checks_in_time(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TOTAL_S", 1.0)
    report = check(Sabotaged(server.port, "silence"))
    assert sum(result.seconds for result in report.results) < 3
    assert_finds(report, "close-large", "no end of the checks")


@pytest.mark.parametrize("answer", [b"", b"\xff" * 70_000, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])
def test_what_gives_no_ticket_is_no_server(answer: bytes) -> None:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    with pytest.raises((HubbubError, HttpRefused, OSError)):
        check(answering)
