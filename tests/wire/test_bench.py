"""`hubbub bench`, every scenario for a moment, and all the ways in which a run can end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hubbub.bench.results import Run, ScenarioResult
from servers import ServerProcess, free_port, running
from wire.raw_clients import wait_until
from wire.test_check_finds import EchoesAnything, Meddler, NodeLike, serving

BENCH = [sys.executable, "-m", "hubbub", "bench"]
RUN_S = 60.0

SMALL = ("--clients", "10", "--rate", "40", "--seconds", "0.5")
ALONE = (*SMALL, "--processes", "1")
# Every room has its 50 missed messages at once: below the burst that a stock server takes.
RESUME = ("resume-storm", "--clients", "20", "--rate", "1000", "--seconds", "0.2", "--processes", "2")
# Until it is told otherwise.
LONG = ("fanout", "--clients", "10", "--rate", "40", "--seconds", "50", "--processes", "2")


@pytest.fixture(scope="module")
def stock_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as it comes, its limits included."""
    with running(tmp_path_factory.mktemp("stock")) as server:
        yield server


def environment(folder: Path, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    return clean | {"XDG_DATA_HOME": str(folder), "HUBBUB_PASSWORD": "123"} | more


def bench(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BENCH, *arguments],
        cwd=folder,
        env=environment(folder, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )


@contextmanager
def under_way(folder: Path, server: ServerProcess) -> Iterator[subprocess.Popen[str]]:
    """A long run whose clients are all connected."""
    # A shell's background job ignores Ctrl-C, and hands that on to whatever it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*BENCH, server.origin, *LONG, "--json"],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    try:
        wait_until(lambda: connected(server) == 10)
        yield process
    finally:
        process.kill()
        process.communicate()


def connected(server: ServerProcess) -> int:
    return int(server.get("/debug")[1].split()[-1])


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def outcome(process: subprocess.Popen[str]) -> tuple[Run, str]:
    """What a run printed, when it has ended."""
    out, err = process.communicate(timeout=RUN_S)
    return msgspec.json.decode(out, type=Run), err


def decoded(result: subprocess.CompletedProcess[str], code: int) -> Run:
    assert (result.returncode, result.stderr) == (code, ""), result
    return msgspec.json.decode(result.stdout, type=Run)


def figures(result: ScenarioResult) -> dict[str, float]:
    return {figure.name: figure.value for figure in result.figures}


def assert_good(result: ScenarioResult) -> None:
    # A slow machine may have been the bottleneck, and then it says so.
    notes = [note for note in result.notes if not note.startswith("the load generator")]
    assert (result.is_good, notes, result.not_offered) == (True, [], ""), result


def assert_explained(result: subprocess.CompletedProcess[str], *what: str) -> None:
    assert (result.returncode, result.stdout) == (2, ""), result
    assert result.stderr.count("\n") == 1, result.stderr
    for word in what:
        assert word in result.stderr


# Every scenario


def test_all_but_the_resume_storm(stock_server: ServerProcess, tmp_path: Path) -> None:
    names = ["fanout", "rooms", "pairs", "connect-storm", "slow-reader", "idle"]
    watched = ("--pid", str(stock_server.pid))
    run = decoded(bench(tmp_path, stock_server.origin, *names, *SMALL, *watched, "--processes", "2", "--json"), 0)
    assert (run.url, run.dialect) == (stock_server.origin, "v1")
    assert [result.scenario for result in run.results] == names
    for result in run.results:
        assert_good(result)
        assert figures(result)["server memory"] > 0
        assert result.timeline
        assert all(sample.rss for sample in result.timeline)
    fanout, rooms, pairs, connects, slow, idle = run.results

    # Half a second of 40 messages a second; one room of ten, ten of one, and five of two.
    for result, members in ((fanout, 10), (rooms, 1), (pairs, 2), (slow, 10)):
        found = figures(result)
        assert (found["messages"], found["deliveries"]) == (20, 20 * members)
        assert (found["lost"], found["repeated"], found["holes"]) == (0, 0, 0)
        assert found["CPU per delivery"] > 0
    for result in (fanout, rooms, pairs):
        (delivery,) = result.latencies
        assert (delivery.name, delivery.count) == ("delivery", figures(result)["deliveries"])
        assert 0 < delivery.p50 <= delivery.p99 <= delivery.p999 <= delivery.max
        assert sum(sample.delivered > 0 for sample in result.timeline) >= 1

    assert [latency.name for latency in slow.latencies] == ["before", "while", "after", "catch-up"]
    assert sum(latency.count for latency in slow.latencies[:3]) == 20 * 9
    assert slow.latencies[3].count == 1
    assert figures(slow)["missed by the slow"] == figures(slow)["slow ones closed"] == 0

    assert [(latency.name, latency.count) for latency in connects.latencies] == [("connect", 10), ("upgrade", 10)]
    assert (figures(connects)["connections"], figures(connects)["refused"]) == (10, 0)
    assert figures(connects)["CPU per connection"] > 0
    assert (figures(idle)["connections"], figures(idle)["connections lost"]) == (10, 0)
    assert idle.timeline[0].connections == 10

    log = stock_server.log()
    assert "Traceback" not in log
    assert "error" not in log
    wait_until(lambda: connected(stock_server) == 0)


def test_the_resume_storm(stock_server: ServerProcess, tmp_path: Path) -> None:
    run = decoded(bench(tmp_path, stock_server.origin, *RESUME, "--json"), 0)
    (result,) = run.results
    assert_good(result)
    found = figures(result)
    assert (found["returned"], found["replayed"]) == (20, 20 * 50)
    # A fifth of a second of 1,000 a second, in ten rooms of two and the one who sends.
    assert (found["messages"], found["deliveries"]) == (200, 200 * 3)
    assert (found["lost"], found["repeated"], found["holes"]) == (0, 0, 0)
    assert [(latency.name, latency.count) for latency in result.latencies] == [
        ("delivery", 600),
        ("upgrade", 20),
        ("resume", 20),
    ]


def test_a_closed_loop_over_tls_and_a_page(tls_server: ServerProcess, tmp_path: Path) -> None:
    authority = tls_server.log_file.parent / "data" / "ca.pem"
    more = ("--window", "1", "--ca-file", str(authority), "--report", "page.html")
    result = bench(tmp_path, tls_server.origin, "fanout", *ALONE, *more)
    assert result.returncode in (0, 1), result  # it may run into the rate that a client is allowed
    assert "fanout: " in result.stdout
    assert "1 messages of each sender under way" in result.stdout
    assert "delivery" in result.stdout
    assert (tmp_path / "page.html").read_text().lstrip().lower().startswith("<!doctype html>")
    secret = ("--password", "123", "--insecure")
    run = decoded(bench(tmp_path, tls_server.origin, "idle", *ALONE, *secret, "--json", HUBBUB_PASSWORD="wrong"), 0)
    assert figures(run.results[0])["connections"] == 10
    assert run.command.endswith("--password ... --insecure --json")


# Classic servers, and bad ones


def bench_through(meddler: Meddler, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run with someone between it and the server."""

    async def main() -> subprocess.CompletedProcess[str]:
        async with serving(meddler) as url:
            return await asyncio.to_thread(bench, folder, url, *arguments, "--json")

    return asyncio.run(main())


def test_a_classic_server_is_put_to_what_it_can(server: ServerProcess, tmp_path: Path) -> None:
    names = ("pairs", "slow-reader", "resume-storm")
    few = ("--clients", "4", "--rate", "40", "--seconds", "0.5", "--processes", "1")
    # Agreeing to any subprotocol is no offer of v1.
    run = decoded(bench_through(EchoesAnything(server.port), tmp_path, *names, *few), 0)
    assert run.dialect == "classic"
    pairs, slow, resume = run.results
    assert_good(pairs)
    assert_good(slow)
    assert (figures(pairs)["messages"], figures(pairs)["deliveries"]) == (20, 40)
    assert "holes" not in figures(pairs)
    assert (figures(slow)["deliveries"], figures(slow)["missed by the slow"]) == (80, 0)
    assert (resume.figures, "classic" in resume.not_offered) == ([], True)


def test_a_server_that_sends_no_user_their_own_messages_is_not_put_to_talk(
    server: ServerProcess, tmp_path: Path
) -> None:
    run = decoded(bench_through(NodeLike(server.port), tmp_path, "fanout", *ALONE), 0)
    assert "one user" in run.results[0].not_offered


class Forgetful(Meddler):
    """Keeps each client's third message to itself, and says the fifth twice."""

    def said(self, event: dict[str, Any], memory: dict[str, Any]) -> list[dict[str, Any]]:
        if event["type"] != "new_message":
            return [event]
        memory["heard"] = memory.get("heard", 0) + 1
        return [event] * {3: 0, 5: 2}.get(memory["heard"], 1)


def test_what_is_lost_and_what_comes_twice_is_found(server: ServerProcess, tmp_path: Path) -> None:
    run = decoded(bench_through(Forgetful(server.port), tmp_path, "fanout", *ALONE), 1)
    (result,) = run.results
    found = figures(result)
    assert (result.is_good, found["holes"], found["repeated"]) == (False, 10, 10)
    assert any("skipped 10" in note for note in result.notes)
    assert any("10 messages came again" in note for note in result.notes)


def test_limits_of_the_server_are_named(tmp_path: Path) -> None:
    with running(tmp_path, "--client-rate", "2", "--client-burst", "4", "--max-clients", "8") as server:
        fast = ("--clients", "10", "--rate", "200", "--seconds", "0.5", "--processes", "1")
        run = decoded(bench(tmp_path, server.origin, "fanout", *fast, "--json"), 1)
    (result,) = run.results
    assert any("connections were refused with 503" in note and "max_clients" in note for note in result.notes)
    assert any("rate_limited" in note and "client_rate" in note for note in result.notes)
    # Each of those that got in wants to say ten things, may say a few, and the others hear them.
    assert 0 < figures(result)["deliveries"] < 8 * 8 * 10
    assert figures(result)["lost"] == 0


# The end of a run


def test_ctrl_c_ends_it_and_shows_what_is_known(stock_server: ServerProcess, tmp_path: Path) -> None:
    with under_way(tmp_path, stock_server) as process:
        workers = children(process.pid)
        assert len(workers) == 2
        process.send_signal(signal.SIGINT)
        run, err = outcome(process)
    assert (process.returncode, err) == (130, "")
    (result,) = run.results
    assert (result.is_good, "interrupted" in result.notes) == (False, True)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    wait_until(lambda: connected(stock_server) == 0)


def test_a_worker_that_dies_ends_it(stock_server: ServerProcess, tmp_path: Path) -> None:
    with under_way(tmp_path, stock_server) as process:
        killed, other = children(process.pid)
        os.kill(killed, signal.SIGKILL)
        run, err = outcome(process)
    assert (process.returncode, err.count("\n"), f"pid {killed}" in err) == (1, 1, True), err
    assert not run.results[0].is_good
    assert not Path(f"/proc/{other}").exists()
    wait_until(lambda: connected(stock_server) == 0)


def test_a_server_that_dies_ends_it(tmp_path: Path) -> None:
    with running(tmp_path) as server, under_way(tmp_path, server) as process:
        server.kill()
        run, err = outcome(process)
    assert (process.returncode, err.count("\n"), "no server" in err) == (1, 1, True), err
    assert not run.results[0].is_good


# No way in


def test_someone_elses_server_is_left_alone(tmp_path: Path) -> None:
    # Without a password in the environment: none is asked for.
    result = bench(tmp_path, "https://192.0.2.1", HUBBUB_PASSWORD="")
    assert_explained(result, "192.0.2.1", "--yes-i-own-it")
    assert_explained(bench(tmp_path, "http://[2001:db8::1]:8080", "idle"), "--yes-i-own-it")


def test_what_is_wrong_is_one_line(server: ServerProcess, tls_server: ServerProcess, tmp_path: Path) -> None:
    assert_explained(bench(tmp_path, server.origin, HUBBUB_PASSWORD="wrong"), "wrong name or password")
    assert_explained(bench(tmp_path, f"http://127.0.0.1:{free_port()}"), "cannot log in")
    assert_explained(bench(tmp_path, tls_server.origin), "certificate")
    assert_explained(bench(tmp_path, server.origin, "--path", "/nowhere"), "cannot log in")
    assert_explained(bench(tmp_path, server.origin, "fanot"), "fanot", "fanout")


def test_without_matplotlib_it_says_what_to_install_before_it_measures(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['matplotlib'] = None; import hubbub.cli as cli; cli.main()"
    nobody = f"http://127.0.0.1:{free_port()}"
    result = subprocess.run(
        [sys.executable, "-c", hidden, "bench", nobody, "--report", "page.html"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert_explained(result, "pip install 'hubbub[report]'")
    assert not (tmp_path / "page.html").exists()
