"""The parts of `hubbub bench` that need no server: addresses, schedules, seqs, and what is shown of it all."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import subprocess
import sys
import typing
from dataclasses import replace
from pathlib import Path

import pytest

import hubbub
from hubbub.bench.conductor import check_files
from hubbub.bench.figures import result_of
from hubbub.bench.histogram import Histogram
from hubbub.bench.link import Body, Listed, Progress
from hubbub.bench.orders import Census, Done, Seat, Talk, Tally, decode_order, decode_report, line
from hubbub.bench.proc import Watched, machine
from hubbub.bench.scenarios import SCENARIOS, seats_of
from hubbub.bench.schedule import STAMP, Pacer, due_in, seats_for, stamp
from hubbub.bench.stage import Cost, ScenarioRun
from hubbub.bench.target import address_of, check_path, is_near
from hubbub.cli.bench import SMALLEST, Name, app, command
from hubbub.errors import ConfigError

# Addresses


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"),
        *("10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "::ffff:10.0.0.1", "fd00::1"),
        *("169.254.1.1", "fe80::1", "fe80::1%eth0"),
    ],
)
def test_this_machine_and_private_networks_are_near(address: str) -> None:
    assert is_near(address)


@pytest.mark.parametrize(
    "address",
    [
        *("192.0.2.1", "203.0.113.5", "8.8.8.8", "172.32.0.1", "172.15.255.255", "192.169.0.1", "126.255.255.255"),
        *("100.64.0.1", "0.0.0.0", "224.0.0.1", "2001:db8::1", "::", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "fec0::1"),
    ],
)
def test_everything_else_is_not(address: str) -> None:
    assert not is_near(address)


def test_a_name_is_near_only_with_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"near.test": ["127.0.0.1", "10.0.0.1"], "mixed.test": ["127.0.0.1", "203.0.113.5"]}

    def getaddrinfo(host: str, port: int, type: int = 0) -> list[tuple[object, ...]]:  # noqa: A002  # socket's name
        if host not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert [address for _family, address in address_of("near.test", 80, is_own=False)] == [
        ["127.0.0.1", 80],
        ["10.0.0.1", 80],
    ]
    with pytest.raises(ConfigError, match=r"mixed\.test \(203\.0\.113\.5\).*--yes-i-own-it"):
        address_of("mixed.test", 80, is_own=False)
    assert len(address_of("mixed.test", 80, is_own=True)) == 2
    with pytest.raises(ConfigError, match=r"nowhere\.test has no address"):
        address_of("nowhere.test", 80, is_own=True)


def test_a_path_is_one() -> None:
    assert check_path("chat/ws") == "/chat/ws"
    for wrong in ("/ws?x=1", "/ws#x", "/w s"):
        with pytest.raises(ValueError, match="is no path"):
            check_path(wrong)


# Schedules


def due(seats: list[Seat], seconds: float) -> list[int]:
    """All times of all seats before the end, in order."""
    end_ns = int(seconds * 1e9)
    times = [range(seat.first_ns, end_ns, seat.every_ns) for seat in seats if seat.every_ns]
    return sorted(time for each in times for time in each)


def test_seats_fill_rooms_evenly_and_send_evenly() -> None:
    seats = seats_for(10, ["a", "b"], 200.0, 2)
    assert [seat.room for seat in seats] == ["a", "b"] * 5
    assert len({seat.number for seat in seats}) == 10
    assert [seat.number for seat in seats if seat.every_ns] == [0, 1, 2, 3]
    assert [seat.room for seat in seats if seat.leads] == ["a", "b"]
    # 200 a second in all: one every 5 ms, the rooms and their senders taking turns.
    assert due(seats, 1.0) == [number * 5_000_000 for number in range(200)]


def test_a_room_has_no_more_senders_than_members() -> None:
    seats = seats_for(5, ["a", "b"], 10.0, 50)
    assert all(seat.every_ns for seat in seats)
    assert len(due(seats, 1.0)) == 10
    assert not any(seat.every_ns for seat in seats_for(5, ["a", "b"], 0, 50))


@pytest.mark.parametrize("name", SCENARIOS)
def test_nobody_sends_more_than_a_stock_server_takes(name: str) -> None:
    scenario = SCENARIOS[name]
    for load in (scenario.load, replace(scenario.load, rate=1000.0)):
        seats = seats_of(scenario, load, stage_with(Tally()))
        assert len(seats) == load.clients
        assert all(seat.every_ns >= 1e9 / 50 for seat in seats if seat.every_ns)


def test_the_rate_is_the_same_when_some_are_silent() -> None:
    scenario = SCENARIOS["slow-reader"]
    load = replace(scenario.load, clients=10, rate=50)
    seats = seats_of(scenario, load, stage_with(Tally()), 3)
    assert [seat.number for seat in seats if seat.every_ns] == list(range(7))
    assert due(seats, 1.0) == due(seats_of(scenario, load, stage_with(Tally())), 1.0)


def test_a_message_says_when_it_was_due() -> None:
    text = "bench 12ab " + stamp(7, 123_456_789_012, 42)
    assert len(text) == len("bench 12ab ") + STAMP <= SMALLEST
    assert text.startswith("bench 12ab 007")
    assert due_in(text, len("bench 12ab 007")) == 123_456_789_012
    assert due_in("bench 12ab 007 nonsense", len("bench 12ab 007")) == 0


def test_what_is_late_is_sent_at_once_with_the_time_that_it_was_due() -> None:
    sent: list[tuple[int, int]] = []
    seats = [Seat(0, every_ns=10), Seat(1, first_ns=5, every_ns=10)]
    pacer = Pacer(lambda seat, at: sent.append((seat.number, at)))
    asyncio.run(pacer.run(seats, 1000, 1030))
    assert sent == [(0, 1000), (1, 1005), (0, 1010), (1, 1015), (0, 1020), (1, 1025)]


# Seqs


def test_seqs_that_rise_by_one_are_fine() -> None:
    progress = Progress()
    progress.enter(Body(epoch="e", seq=7))
    for seq in (8, 9, 10):
        progress.hear(seq)
    assert (progress.seq, progress.holes, progress.repeats) == (10, 0, 0)


def test_holes_and_repeats_are_counted() -> None:
    progress = Progress()
    for seq in (1, 4, 4, 3, 5):
        progress.hear(seq)
    assert (progress.seq, progress.holes, progress.repeats) == (5, 2, 2)


def test_what_was_missed_is_checked_as_what_comes_live() -> None:
    progress = Progress()
    progress.enter(Body(epoch="e", seq=3))
    missed = tuple(Listed(seq) for seq in (4, 6))
    progress.enter(Body(epoch="e", seq=8, recovered=True, messages=missed))
    progress.hear(9)
    # 5 was skipped, and 7 and 8 were claimed and not there.
    assert (progress.seq, progress.holes, progress.repeats) == (9, 3, 0)
    # What is not recovered is the server's newest page, and no continuation.
    progress.enter(Body(epoch="f", seq=2, messages=(Listed(1), Listed(2))))
    assert (progress.seq, progress.holes, progress.repeats) == (2, 3, 0)


# Orders and tallies


def test_orders_and_reports_travel_as_lines() -> None:
    order = Talk(1, 2, 3, 40, parts=("a", "b", "c"), bounds=(5, 6), deaf=(5, 6))
    report = Done(Tally(sent={"a": 1}, latencies={"delivery": {128: 3}}), Census(3, 0, {"a": 3}))
    assert line(order).count(b"\n") == line(report).count(b"\n") == 1
    assert decode_order(line(order)) == order
    assert decode_report(line(report)) == report


def test_tallies_add_up() -> None:
    tally = Tally(sent={"a": 1}, newest={"a": 5}, latencies={"x": {1: 1}}, last_ns=7, busy=0.5)
    tally.add(Tally({"a": 2, "b": 3}, 4, 5, {"a": 4}, {"x": {1: 2}, "y": {3: 1}}, {"opened": 1}, {"gap": 1}, 3, 0.9))
    assert tally == Tally(
        {"a": 3, "b": 3}, 4, 5, {"a": 5}, {"x": {1: 3}, "y": {3: 1}}, {"opened": 1}, {"gap": 1}, 7, 0.9
    )


# Results


def stage_with(tally: Tally, *, has_v1: bool = True, **more: int) -> ScenarioRun:
    stage = ScenarioRun([], "bench", has_v1=has_v1, echoes=True, watched=None, tell=lambda _glimpse: None)
    stage.total = stage.measured = tally
    for name, value in more.items():
        setattr(stage, name, value)
    return stage


def test_a_good_result_has_no_notes() -> None:
    found = result_of("fanout", "", stage_with(Tally({"a": 10}, delivered=50, last_ns=10**9), expected=50), "")
    assert (found.is_good, found.notes) == (True, [])
    figures = {figure.name: figure.value for figure in found.figures}
    assert figures == {
        "messages": 10,
        "deliveries": 50,
        "deliveries per second": 50,
        "lost": 0,
        "repeated": 0,
        "holes": 0,
    }


def test_what_is_lost_or_comes_again_is_not_good() -> None:
    lost = result_of("fanout", "", stage_with(Tally({"a": 10}, delivered=48), expected=50), "")
    assert (lost.is_good, lost.notes) == (False, ["2 deliveries never came"])
    holes = result_of("fanout", "", stage_with(Tally(counts={"holes": 1, "repeats": 2})), "")
    assert (holes.is_good, len(holes.notes)) == (False, 2)


def test_a_limit_names_the_setting_that_lifts_it() -> None:
    for trouble, setting in {
        "error rate_limited": "client_rate",
        "error too_large": "too_large",
        "http 429": "max_otps_per_account",
        "http 503": "max_clients",
        "close 4102": "client_rate",
        "close 4001": "max_outbox",
        "close 4242": "4242",
        "http 418": "418",
    }.items():
        found = result_of("idle", "", stage_with(Tally(troubles={trouble: 3})), "")
        assert not found.is_good
        (note,) = found.notes
        assert note.startswith("3 ")
        assert setting in note


def test_a_slow_classic_client_may_miss_something_and_a_v1_client_may_not() -> None:
    tally = Tally({"a": 10}, delivered=40, to_slow=4, counts={"slow closed": 1}, troubles={"close 4001": 1})
    classic = stage_with(tally, has_v1=False, expected=40, expected_of_slow=10)
    assert result_of("slow-reader", "", with_begin(classic), "").is_good
    v1 = stage_with(Tally({"a": 10}, delivered=40, to_slow=4), expected=40, expected_of_slow=10)
    assert not result_of("slow-reader", "", with_begin(v1), "").is_good


def with_begin(stage: ScenarioRun) -> ScenarioRun:
    stage.costs["begin"] = Cost(0.0)
    return stage


def test_its_own_weakness_is_said() -> None:
    late = Histogram()
    late.record(100_000_000)
    for tally in (Tally(busy=0.95), Tally(latencies={"lateness": late.counts()})):
        (note,) = result_of("fanout", "", stage_with(tally), "").notes
        assert note.startswith("the load generator was the bottleneck")


# This machine


def test_a_process_is_watched_while_it_lives() -> None:
    own = Watched(os.getpid())
    before = own.cpu_s()
    assert before is not None
    sum(range(100_000))
    assert (own.cpu_s() or 0.0) > before
    assert (own.rss() or 0) > 1_000_000
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        other = Watched(child.pid)
        child.communicate(b"\n")
    assert (other.cpu_s(), other.rss()) == (None, None)
    for pid in (child.pid, 0, -1):
        with pytest.raises(ConfigError, match="no such process"):
            Watched(pid)
    assert "\n" not in machine()


def test_more_files_than_there_may_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (100, 1000))
    check_files(1000, 2)
    with pytest.raises(ConfigError, match="ulimit -Hn 1064"):
        check_files(1000, 1)
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (100, resource.RLIM_INFINITY))
    check_files(1_000_000, 1)


# The command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["localhost:8080"], "https://host:port"),
        (["http://127.0.0.1:9", "--insecure"], "plain HTTP"),
        (["http://127.0.0.1:9", "--path", "/ws?x"], "no path"),
        (["http://127.0.0.1:9", "--clients", "1"], "--clients 1: it is 2 to 1,000,000"),
        (["http://127.0.0.1:9", "--size", "5"], "--size"),
        (["http://127.0.0.1:9", "--rate", "0"], "--rate"),
        (["http://127.0.0.1:9", "--pid", str(2**22 + 1)], "no such process"),
        (["http://127.0.0.1:9", "--report", "/no/such/page.html"], "page.html"),
        (["http://203.0.113.5:8080"], "--yes-i-own-it"),
    ],
)
def test_what_cannot_be_is_refused_before_a_password_is_asked_for(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HUBBUB_PASSWORD", raising=False)  # asking would fail: tests have no terminal
    with pytest.raises(ConfigError, match=re.escape(words)):
        app(arguments, exit_on_error=False, print_error=False)


def test_a_password_is_not_shown() -> None:
    assert command(["/bin/hubbub", "bench", "http://a", "--password", "geheim"]).endswith("http://a --password ...")
    assert command(["x", "--password=geheim", "idle"]) == "hubbub --password=... idle"


def test_scenarios_are_the_same_everywhere() -> None:
    assert list(SCENARIOS) == list(typing.get_args(Name))
    page = (Path(hubbub.__file__).parents[2] / "docs" / "bench.md").read_text()
    for name, scenario in SCENARIOS.items():
        assert f"| `{name}` |" in page
        assert not re.search(r"[{}]", scenario.says(scenario.load))


def test_the_help_imports_no_load_generator_and_nothing_that_draws() -> None:
    heavy = "[name for name in sys.modules if name.startswith(('hubbub.bench', 'matplotlib', 'numpy'))]"
    code = f"import sys, hubbub.cli; print({heavy})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
