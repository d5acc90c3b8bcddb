"""Other programs publish with a key: `hubbub key` and the two publishers, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from commands import done, hubbub, refused
from hubbub import AsyncPublisher, Publisher
from hubbub.errors import AuthError, ErrorCode, Rejected, Unreachable
from hubbub.http.api import MAX_BATCH
from hubbub.sdk import courier
from servers import ServerProcess, free_port, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("publishing")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with running(folder, "--engine", engine(folder), tls=True) as server:
        yield server


@pytest.fixture(scope="module")
def key(folder: Path, server: ServerProcess) -> str:
    """A key for everything, made while the server runs."""
    return add_key(folder, "everything", "--may", "publish,history,presence,rooms,disconnect", "--may", "info")


def engine(folder: Path) -> str:
    return f"sqlite:///{folder / 'hubbub.db'}"


def add_key(folder: Path, *command: str) -> str:
    return done(hubbub("key", "add", *command, *kept_in(folder), cwd=folder)).strip()


def kept_in(folder: Path) -> tuple[str, ...]:
    return "--engine", engine(folder), "--data-dir", str(folder)


def test_a_program_publishes_and_asks(server: ServerProcess, key: str) -> None:
    with Publisher(server.origin, key, tls=server.tls) as publisher:
        assert repr(publisher) == f"<Publisher {server.origin}>"
        first = publisher.publish("news", {"headline": "It works"})
        assert (first.room, first.seq) == ("news", 1)
        assert publisher.publish("news", 2, key="mine") == publisher.publish("news", 2, key="mine")
        said = publisher.broadcast(["news", "ops"], {"message": "hi"}, type="new_message")
        assert [place.seq for place in said if not isinstance(place, Rejected)] == [3, 1]
        history = publisher.history("news")
        assert [each.data for each in history.messages] == [{"headline": "It works"}, 2, {"message": "hi"}]
        assert (history.seq, history.epoch) == (3, first.epoch)
        assert [each.seq for each in publisher.history("news", after=1, limit=1).messages] == [2]
        assert publisher.presence("news") == []
        assert publisher.rooms() == {"news": 0, "ops": 0}
        assert publisher.rooms("o*") == {"ops": 0}
        publisher.disconnect("nobody")
        assert publisher.info()[0]["num_clients"] == 0
        replies = publisher.batch([{"publish": {"channel": "news", "data": 4}}] * MAX_BATCH)
        assert replies[-1] == {"offset": 3 + MAX_BATCH, "epoch": first.epoch}
        with pytest.raises(Rejected) as rejected:
            publisher.publish("no/room", 1)
        assert rejected.value.code == ErrorCode.BAD_PAYLOAD


def test_a_program_with_a_loop_does_so_too(server: ServerProcess, key: str) -> None:
    publisher = AsyncPublisher(server.origin, key, tls=server.tls)

    async def publish() -> None:
        async with publisher:
            places = await asyncio.gather(*(publisher.publish("loop", number) for number in range(20)))
            assert sorted(place.seq for place in places) == list(range(1, 21))
            history = await publisher.history("loop", limit=300)
            assert sorted(each.data for each in history.messages) == list(range(20))
            assert (await publisher.rooms("loop")) == {"loop": 0}
            large = await publisher.batch([{"publish": {"channel": "large", "data": "x" * 15_000}}] * 4)
            assert large == [{"offset": seq, "epoch": history.epoch} for seq in range(1, 5)]

    asyncio.run(publish())
    asyncio.run(publish_once(publisher))  # the connections of another loop are not used


async def publish_once(publisher: AsyncPublisher) -> None:
    async with publisher:
        assert (await publisher.publish("again", 1)).seq == 1


PAGE = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text()


def test_the_examples_of_the_page_run(folder: Path, server: ServerProcess, key: str) -> None:
    [command] = re.findall(r"^    \$ hubbub key (.*)$", PAGE, re.MULTILINE)
    secret = done(hubbub("key", *shlex.split(command), *kept_in(folder), cwd=folder)).strip()
    first, count, announce, _redis = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "example", "tls": server.tls}
    for example in (first, count, announce):
        code = example.replace("https://chat.example.com", server.origin).replace('"hbk_..."', f'"{secret}", tls=tls')
        exec(compile(code, "example", "exec", dont_inherit=True), names)
    asyncio.run(names["announce"]("It runs"))
    with Publisher(server.origin, secret, tls=server.tls) as publisher:
        headlines = [each.data["headline"] for each in publisher.history("news-today").messages]
        assert headlines == ["It works", "It runs"]
    with Publisher(server.origin, key, tls=server.tls) as publisher:
        names["count"](publisher)
        assert [each.type for each in publisher.history("lunch").messages] == ["tally", "tally", "new_message"]


def test_the_request_of_the_page_is_answered_as_it_says(server: ServerProcess, key: str) -> None:
    [(command, answer)] = re.findall(r"^    \$ curl (.*)\n    (.*)$", PAGE, re.MULTILINE)
    url, _, header, _, data = shlex.split(command.replace("https://chat.example.com", server.origin))
    name, _, _ = header.partition(": ")
    request = urllib.request.Request(url, data.encode(), {name: key})
    with urllib.request.urlopen(request, context=server.tls) as response:
        assert json.load(response)["result"].keys() == json.loads(answer)["result"].keys()


def test_connections_are_used_again(server: ServerProcess, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = 0
    take = courier.BlockingCourier._take

    def counting(self: courier.BlockingCourier, timeout_s: float) -> object:
        nonlocal opened
        connection = take(self, timeout_s)
        opened += connection.sock is None
        return connection

    monkeypatch.setattr(courier.BlockingCourier, "_take", counting)
    with Publisher(server.origin, key, tls=server.tls) as publisher:
        for number in range(5):
            publisher.publish("used-again", number)
        assert opened == 1
        monkeypatch.setattr(courier, "IDLE_S", 0.0)
        publisher.publish("used-again", 5)
        assert opened == 2


def test_a_process_that_is_forked_has_connections_of_its_own(server: ServerProcess, key: str) -> None:
    with Publisher(server.origin, key, tls=server.tls) as publisher:
        publisher.publish("forked", 0)
        child = os.fork()
        if not child:
            try:
                publisher.publish("forked", 1)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        publisher.publish("forked", 2)
        assert [each.data for each in publisher.history("forked").messages] == [0, 1, 2]


def test_a_key_that_is_revoked_is_good_for_nothing_more(folder: Path, server: ServerProcess) -> None:
    secret = add_key(folder, "revoked", "--rooms", "news-*")
    assert "revoked\tpublish\tnews-*\t" in done(hubbub("key", "list", *kept_in(folder), cwd=folder))
    assert "there is a key 'revoked' already" in refused(hubbub("key", "add", "revoked", *kept_in(folder), cwd=folder))
    with Publisher(server.origin, secret, tls=server.tls) as publisher:
        publisher.publish("news-today", 1)
        with pytest.raises(Rejected, match="this key is not for the room 'ops'"):
            publisher.publish("ops", 1)
        with pytest.raises(Rejected, match="this key is not for `history`"):
            publisher.history("news-today")
        done(hubbub("key", "revoke", "revoked", *kept_in(folder), cwd=folder))
        with pytest.raises(AuthError, match="does not know this key"):
            publisher.publish("news-today", 1)
    assert secret not in (folder / "audit.log").read_text() + server.log()


def test_what_is_published_while_the_server_restarts_is_kept_once(tmp_path: Path) -> None:
    port = free_port()
    secret = add_key(tmp_path, "worker", "--may", "publish,history")
    more = ("--engine", engine(tmp_path), "--port", str(port))
    with (
        ThreadPoolExecutor() as threads,
        Publisher(f"http://127.0.0.1:{port}", secret, within_s=30.0) as publisher,
    ):
        with running(tmp_path, *more) as server:
            publisher.publish("news", 0)
            server.kill()
        publishing = threads.submit(publisher.publish, "news", 1)
        with running(tmp_path, *more):
            assert publishing.result().seq == 2
            assert [each.data for each in publisher.history("news").messages] == [0, 1]


@pytest.mark.parametrize("url", ["ftp://chat.example", "chat.example"])
def test_what_is_no_server_or_key_is_told_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is no server's URL"):
        Publisher(url, "key")
    for key in ("", "a\nb", "\u00e9"):
        with pytest.raises(ValueError, match="a key is what"):
            Publisher("http://127.0.0.1", key)


def test_where_nobody_answers_it_is_told_in_time() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable), Publisher(url, "key", within_s=0.05) as publisher:
        publisher.publish("news", 1)
    with pytest.raises(Unreachable):
        asyncio.run(AsyncPublisher(url, "key", within_s=0.05).publish("news", 1))
