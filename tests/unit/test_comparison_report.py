"""The comparison's pages: medians and spreads of what was measured, and a dash for what was not."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from comparison.medians import Medians
from comparison.pages import PAGES
from comparison.report import TIMES, page, write_report
from comparison.results import CHANNELS, CHAT, LoadRecord, Results, Round, ServerRecord, read, write
from hubbub.bench.text import DASH

HOSTILE = "</style><script>alert(1)</script> | `x` \n# heading"

SERVERS = [
    ServerRecord("go", "Go", versions={"go": "1.24"}, start="taskset -c 0 go"),
    ServerRecord("hubbub-sqlite", "Hubbub, SQLite"),
    ServerRecord("go-tls", "Go, TLS", tls=True),
    ServerRecord("hubbub-tls", "Hubbub, TLS", tls=True),
]
FANOUT = LoadRecord("fanout-100", "One room of 100", "loadgen --clients 100")
AIMS = PAGES[CHAT].aims


def cpu(*values: float) -> list[Round]:
    return [{"cpu_us_per_delivery": value, "deliveries_per_s": 1_234_567} for value in values]


def results(
    rounds_of: dict[str, dict[str, list[Round]]], *loads: LoadRecord, notes: dict[str, dict[str, str]] | None = None
) -> Results:
    return Results(
        "2030-01-02T03:04:05Z", "a machine", "abc1234", 3, SERVERS, list(loads), rounds_of, notes if notes else {}
    )


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def row(text: str, start: str) -> list[str]:
    """The cells of the row that begins with this."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_a_table_has_medians_spreads_and_multiples() -> None:
    rounds = {"go": cpu(12, 10, 30), "hubbub-sqlite": cpu(2, 2, 2), "go-tls": cpu(15), "hubbub-tls": cpu(3)}
    text = section(page(results({"fanout-100": rounds}, FANOUT), ""), "One room of 100")
    assert "    loadgen --clients 100\n" in text
    assert row(text, "server")[1:3] == ["CPU per delivery, µs", "deliveries, /s"]
    assert row(text, "Go")[:3] == ["Go", f"12 (10{DASH}30)", "1,230,000"]
    assert row(text, "Go")[-1] == f"6{TIMES}"
    assert row(text, "**Hubbub, SQLite**")[1] == "2"
    assert row(text, "Go, TLS")[-1] == f"5{TIMES}", "against Hubbub under TLS"
    assert "![One room of 100](comparison-chat/fanout-100.svg)" in text


def test_what_is_missing_is_a_dash() -> None:
    half = LoadRecord("half-of-go", "Half of Go")
    text = page(results({"fanout-100": {"go": cpu(12)}}, FANOUT, half), "")
    assert set(row(section(text, "One room of 100"), "**Hubbub, SQLite**")[1:]) == {DASH}
    assert row(section(text, "One room of 100"), "Go")[-1] == DASH, "nothing to compare with"
    assert set(row(section(text, "Half of Go"), "Go")[1:]) == {DASH}


def test_no_results_at_all_are_a_page_too(tmp_path: Path) -> None:
    empty = Results("", "", "", 0, [], [LoadRecord("idle", ""), LoadRecord("unheard-of", "")], {})
    write_report(empty, tmp_path, "")
    for plot in (tmp_path / "comparison-chat").iterdir():
        assert "no data" in plot.read_text("utf-8")


def test_latencies_are_in_milliseconds() -> None:
    rounds: dict[str, list[Round]] = {"go": [{"p50_us": 1500, "p99_us": 20_000, "p999_us": 40_000}]}
    text = page(results({"half-of-go": rounds}, LoadRecord("half-of-go", "Half of Go")), "")
    assert row(section(text, "Half of Go"), "Go")[:4] == ["Go", "20", "40", "1.5"]


def test_a_load_that_is_not_known_shows_all_that_was_found() -> None:
    rounds: dict[str, list[Round]] = {"hubbub-sqlite": [{"p99_while_us": 1400, "catch_up_ms": 300, "missing": 0}]}
    text = section(page(results({"slow-reader": rounds}, LoadRecord("slow-reader", "Slow")), ""), "Slow")
    assert row(text, "server") == ["server", "p99 while, ms", "catch up, ms", "missing", f"p99 while, {TIMES} Hubbub's"]
    assert row(text, "**Hubbub, SQLite**")[1:4] == ["1.4", "300", "0"]


def test_notes_say_what_a_server_did_instead() -> None:
    notes = {"fanout-100": {"go": "it stopped", "unheard-of": "no"}}
    text = page(results({}, FANOUT, notes=notes), "")
    assert "- Go: it stopped\n" in text
    assert "unheard-of" not in text


def test_the_page_says_what_was_measured_and_ends_with_the_losses() -> None:
    text = page(results({}, FANOUT), "We lose at *chess*.\n")
    for fact in ("2030-01-02T03:04:05Z", "a machine", "abc1234", "3 rounds", "go 1.24", "`taskset -c 0 go`"):
        assert fact in text
    assert text.endswith("## Where we lose, and why\n\nWe lose at *chess*.\n")


def test_an_aim_is_met_at_its_limit_and_not_beyond() -> None:
    says, limit = AIMS[0].says, AIMS[0].limit
    for value, verdict in ((limit, "met"), (limit * 1.01, "**not met**")):
        rounds = {"go": cpu(100), "hubbub-sqlite": cpu(100 * value)}
        text = section(page(results({"fanout-100": rounds}, FANOUT), ""), "The aims")
        assert row(text, says)[-1] == verdict


def test_an_aim_without_its_figures_is_open() -> None:
    text = section(page(results({}, FANOUT), ""), "The aims")
    assert all(row(text, aim.says)[-2:] == [DASH, DASH] for aim in AIMS)


def test_nothing_is_a_multiple_of_zero() -> None:
    rounds = {"go": cpu(0), "hubbub-sqlite": cpu(1)}
    assert Medians(results({"x": rounds})).ratio("x", "cpu_us_per_delivery", "hubbub-sqlite", "go") is None


def test_every_load_has_a_plot_and_old_plots_go(tmp_path: Path) -> None:
    (tmp_path / "comparison-chat").mkdir()
    (tmp_path / "comparison-chat" / "old.svg").write_text("old")
    rounds = {"go": cpu(12, 10, 30), "hubbub-sqlite": cpu(2)}
    write_report(results({"fanout-100": rounds}, FANOUT), tmp_path, "Nothing.")
    assert [plot.name for plot in (tmp_path / "comparison-chat").iterdir()] == ["fanout-100.svg"]
    plot = ET.parse(tmp_path / "comparison-chat" / "fanout-100.svg").getroot()
    said = {text.text for text in plot.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Go", "Hubbub, SQLite", "12", "CPU per delivery, µs; less is better"} <= said
    assert "Go, TLS" not in said, "not measured"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    server = ServerRecord("go", HOSTILE, versions={HOSTILE: HOSTILE}, start=HOSTILE)
    load = LoadRecord("idle", HOSTILE)
    rounds: dict[str, dict[str, list[Round]]] = {"idle": {"go": [{"kib_per_connection": 1}]}}
    hostile = Results(HOSTILE, HOSTILE, HOSTILE, 1, [server], [load], rounds, {"idle": {"go": HOSTILE}})
    write_report(hostile, tmp_path, "")
    text = (tmp_path / "comparison-chat.md").read_text("utf-8")
    assert "\n# heading" not in text
    # Between the backticks of a command nothing is markup.
    assert all("`</style><script>" in line for line in text.splitlines() if "<script>" in line)
    ET.parse(tmp_path / "comparison-chat" / "idle.svg")


def test_results_are_kept_as_they_are(tmp_path: Path) -> None:
    kept = results({"fanout-100": {"go": cpu(12.5, 10)}}, FANOUT, notes={"fanout-100": {"go": "it stopped"}})
    write(kept, tmp_path / "results.json")
    assert read(tmp_path / "results.json") == kept


def test_a_name_is_no_path(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    write(results({}, LoadRecord("../evil", "")), file)
    with pytest.raises(msgspec.ValidationError):
        read(file)


# The page of the channels


def channel_results(rounds_of: dict[str, dict[str, list[Round]]], *loads: LoadRecord, busy: float = 0) -> Results:
    servers = [
        ServerRecord("hubbub-sqlite", "Hubbub, SQLite"),
        ServerRecord("hubbub-memory", "Hubbub, memory"),
        ServerRecord("centrifugo-history", "Centrifugo, history in memory"),
    ]
    return Results("", "a machine", "abc1234", 3, servers, list(loads), rounds_of, suite=CHANNELS, busy=busy)


ROOM = LoadRecord("room-100", "One room of 100")
IDLE = LoadRecord("idle-in-room", "Idle connections")


def test_all_loads_are_seen_at_a_glance_beside_centrifugo() -> None:
    rounds = {
        "room-100": {"hubbub-sqlite": cpu(3), "centrifugo-history": cpu(6)},
        "idle-in-room": {"hubbub-sqlite": [{"kib_per_connection": 4.0}]},
    }
    text = section(page(channel_results(rounds, ROOM, IDLE), ""), "At a glance")
    assert "1. One room of 100: CPU per delivery, µs\n2. Idle connections: memory per connection, KiB\n" in text
    assert row(text, "**Hubbub, SQLite**") == ["**Hubbub, SQLite**", f"3 (0.5{TIMES})", "4"]
    assert row(text, "**Hubbub, memory**")[1:] == [DASH, DASH]
    assert row(text, "Centrifugo, history in memory")[1:] == ["6", DASH]


def test_what_servers_are_a_multiple_of_is_named() -> None:
    text = section(page(channel_results({"room-100": {"hubbub-memory": cpu(3)}}, ROOM), ""), "One room of 100")
    assert row(text, "server")[-1] == f"CPU per delivery, {TIMES} Centrifugo's with history"


def test_memory_and_connects_have_aims_of_their_own() -> None:
    rounds: dict[str, dict[str, list[Round]]] = {
        "idle-in-room": {
            "hubbub-sqlite": [{"kib_per_connection": 6}],
            "hubbub-memory": [{"kib_per_connection": 5}],
            "centrifugo-history": [{"kib_per_connection": 50}],
        },
        "connects": {
            "hubbub-sqlite": [{"connect_cpu_us": 121}],
            "hubbub-memory": [{"connect_cpu_us": 120}],
            "centrifugo-history": [{"connect_cpu_us": 100}],
        },
    }
    text = section(page(channel_results(rounds, IDLE), ""), "The aims")
    verdicts = {
        "an idle connection, SQLite: a tenth of Centrifugo's memory": "**not met**",
        "an idle connection, memory: a tenth of Centrifugo's memory": "met",
        "letting a client in, SQLite: 1.2 times Centrifugo's CPU": "**not met**",
        "letting a client in, memory: 1.2 times Centrifugo's CPU": "met",
    }
    assert {aim: row(text, aim)[-1] for aim in verdicts} == verdicts


def test_a_busy_machine_is_told_of() -> None:
    assert "**The machine was busy with other things**: 7.5 programs" in page(channel_results({}, ROOM, busy=7.5), "")
    assert "busy" not in page(channel_results({}, ROOM), "").partition("## ")[0]


def test_the_page_says_what_each_server_keeps() -> None:
    text = section(page(channel_results({}, ROOM), ""), "What each keeps")
    for server in ("Hubbub, SQLite", "Centrifugo, history in memory", "socket.io", "python-socketio"):
        assert len(row(text, server)) == 5
