"""The comparison: every load for a moment, and what is kept of it. Whether the figures are good is not looked at."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wire.raw_clients import wait_until

ROOT = Path(__file__).parent.parent.parent
RUN_S = 600.0

TALK = {"cpu_us_per_delivery", "deliveries_per_s", "p50_us", "p99_us", "p999_us", "rss_mib", "server_cpu", "load_cpu"}
FIGURES = {
    "room-100": TALK,
    "rooms-7x33": TALK,
    "room-100-full": TALK,
    "idle-in-room": {"kib_per_connection", "server_cpu", "rss_mib"},
    "connects": {"connect_cpu_us", "connects_per_s", "p50_us", "p99_us", "rss_mib"},
    "fanout-100": TALK,
    "half-of-go": TALK,
    "connect-storm": {"connect_cpu_us", "connects_per_s", "p50_us", "p99_us", "rss_mib"},
    "idle": {"kib_per_connection", "server_cpu", "rss_mib"},
    "resume-storm": {"p99_resume_us", "p50_resume_us", "cpu_per_return_us", "returned", "replayed", "rss_mib"},
    "slow-reader": {"p99_while_us", "p99_before_us", "catch_up_ms", "memory_growth_kib", "rss_mib"},
}
# Of so little load, these can be nothing.
CAN_BE_ZERO = {"kib_per_connection", "server_cpu", "load_cpu", "memory_growth_kib"}

# Some of each kind of load: what makes the others of a kind differs in numbers alone.
CHANNELS = ["rooms-7x33", "room-100-full", "idle-in-room", "connects"]
CHAT = ["half-of-go", "resume-storm", "slow-reader"]

NO_PEER = "not measured: "
# What the load generator has open beside its connections, at least: stdio and epoll.
FILES = 4


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """What there must be to measure anything."""
    if not all(map(shutil.which, ("taskset", "make", "cc"))) or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this takes two cores, taskset, make and cc")
    headers = subprocess.run(["cc", "-E", "-"], input=b"#include <openssl/ssl.h>\n", capture_output=True, check=False)
    if headers.returncode:
        pytest.skip("this takes the headers of OpenSSL")


def command(folder: Path, *arguments: str) -> list[str]:
    kept = ["--out", str(folder / "results.json"), "--report", str(folder)]
    return [sys.executable, "-m", "comparison.run", "--rounds", "1", "--scale", "0.02", *kept, *arguments]


def run(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )


def measured(folder: Path, *arguments: str, seconds: float = 0.3) -> dict[str, Any]:
    """What a run has written."""
    ended = run(command(folder, "--seconds", f"{seconds:g}", *arguments))
    assert ended.returncode == 0, ended.stderr
    return written(folder)


def written(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "results.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def note(found: dict[str, Any], load: str, server: str) -> str:
    return str(found["notes"].get(load, {}).get(server, ""))


def assert_measured(found: dict[str, Any], load: str, server: str) -> None:
    """There is one round, with every figure that the load is for."""
    rounds = found["rounds_of"].get(load, {}).get(server, [])
    assert len(rounds) == 1, f"{server} under {load}: {note(found, load, server)}"
    assert FIGURES[load] <= rounds[0].keys()
    for name in FIGURES[load] - CAN_BE_ZERO:
        assert rounds[0][name] > 0, f"{name} of {server} under {load}"


def assert_nothing_missing(found: dict[str, Any], load: str, server: str) -> None:
    (figures,) = found["rounds_of"][load][server]
    assert figures["missing"] == figures["unacked"] == 0


def test_loads_of_channels_find_their_figures_and_no_message_is_lost(tmp_path: Path) -> None:
    found = measured(tmp_path, "--servers", "hubbub-memory", "--only", ",".join(CHANNELS))
    assert [load["name"] for load in found["loads"]] == CHANNELS
    for load in CHANNELS:
        assert_measured(found, load, "hubbub-memory")
    for load in ("rooms-7x33", "room-100-full"):
        assert_nothing_missing(found, load, "hubbub-memory")
    (server,) = found["servers"]
    assert {"hubbub", "python", "uvloop", "picows", "SQLite", "OpenSSL"} == server["versions"].keys()


def test_the_same_load_speaks_v1(tmp_path: Path) -> None:
    found = measured(tmp_path, "--servers", "hubbub-sqlite-v1", "--only", "room-100")
    assert_measured(found, "room-100", "hubbub-sqlite-v1")
    assert_nothing_missing(found, "room-100", "hubbub-sqlite-v1")


def test_loads_of_chat_find_their_figures(tmp_path: Path) -> None:
    found = measured(tmp_path, "--suite", "chat", "--servers", "hubbub-memory", "--only", ",".join(CHAT))
    assert [load["name"] for load in found["loads"]] == CHAT
    for load in set(CHAT) - {"half-of-go"}:
        assert_measured(found, load, "hubbub-memory")
    assert "go was not measured" in note(found, "half-of-go", "hubbub-memory")


def test_the_report_has_every_load_and_no_path_of_this_machine(tmp_path: Path) -> None:
    found = measured(tmp_path, "--suite", "chat", "--servers", "floor", "--only", "connect-storm,resume-storm")
    page = (tmp_path / "comparison-chat.md").read_text("utf-8")
    for load in found["loads"]:
        assert f"## {load['title']}\n" in page
        assert (tmp_path / "comparison-chat" / f"{load['name']}.svg").exists()
    assert "- the floor, C: no resume" in page
    assert str(ROOT) not in page
    assert str(tmp_path) not in page


def test_peers_are_measured_or_it_is_said_why_not(tmp_path: Path) -> None:
    names = ["go", "hubbub-tls"]
    part = ["--servers", ",".join(names), "--only", "fanout-100,half-of-go"]
    found = measured(tmp_path, "--suite", "chat", *part, seconds=1)
    assert [server["name"] for server in found["servers"]] == names
    absent = {name for name in names if note(found, "fanout-100", name).startswith(NO_PEER)}
    assert "hubbub-tls" not in absent
    for name in set(names) - absent:
        assert_measured(found, "fanout-100", name)
        if "go" not in absent:
            assert_measured(found, "half-of-go", name)


def test_ctrl_c_stops_everything_and_leaves_what_there_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    # A shell's background job ignores Ctrl-C, and hands that on to whatever it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("w") as lines:
        runner = subprocess.Popen(
            command(
                tmp_path, "--suite", "chat", "--servers", "floor", "--only", "connect-storm,idle", "--seconds", "60"
            ),
            cwd=ROOT,
            stderr=lines,
        )
    signal.signal(signal.SIGINT, before)
    try:
        # The storm is over, and for the quiet all are connected: the runner has long been waiting for its end.
        wait_until(lambda: "connect-storm" in log.read_text() and connections(children(runner.pid)) >= 100)
        begun = children(runner.pid)
        assert begun.keys() == {"loadgen", "server"}
        runner.send_signal(signal.SIGINT)
        assert runner.wait(RUN_S) == 130
    finally:
        runner.terminate()
        runner.wait(RUN_S)
    assert not [name for name, pid in begun.items() if Path(f"/proc/{pid}").exists()]
    assert_measured(written(tmp_path), "connect-storm", "floor")
    assert not (tmp_path / "comparison-chat.md").exists()


def children(pid: int) -> dict[str, int]:
    """The processes that a process has started: their ids, by the names of their programs."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            started, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue  # it has ended meanwhile
        if int(rest.split()[1]) == pid:
            found[started.partition("(")[2]] = int(stat.parent.name)
    return found


def connections(processes: dict[str, int]) -> int:
    """How many the load generator has, if it runs."""
    try:
        files = list(Path(f"/proc/{processes['loadgen']}/fd").iterdir())
    except (KeyError, OSError):
        return 0
    return len(files) - FILES


def test_what_cannot_be_measured_is_one_line(tmp_path: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    alone = run(["taskset", "-c", core, *command(tmp_path)])
    unpinned = run(command(tmp_path), PATH=str(tmp_path))
    for ended, reason in ((alone, "two cores"), (unpinned, "taskset is missing")):
        assert ended.returncode == 1
        assert reason in ended.stderr
        assert ended.stderr.count("\n") == 1
    unheard_of = run(command(tmp_path, "--only", "room-100,unheard-of"))
    assert unheard_of.returncode == 2
    assert "unheard-of: there are room-100, " in unheard_of.stderr
