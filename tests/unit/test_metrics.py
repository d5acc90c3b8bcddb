"""What a server has counted: what each number means, in both formats, and that asking costs nobody anything."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as open_parser
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from gates import FullDisk, GatedEngine
from hubbub import Client, Event, Hub, Refused
from hubbub import room as room_module
from hubbub.chat import NewMessage
from hubbub.core import ServiceState
from hubbub.counts import CODES, Buckets, EngineCounts
from hubbub.engine import Head
from hubbub.engine.memory import MemoryEngine
from hubbub.metrics import FRESH_S, TABLE, MetricKind, Metrics
from hubbub.room import Standing
from hubbub.tallies import bury, new_folder
from hubbub.testing import CLASSIC, Clock, Stage, at_work
from unit.hot_path import Bytecodes

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
OPEN = "application/openmetrics-text; version=1.0.0; q=0.8, text/plain; q=0.5"


class Vote(Event, tag="vote"):
    pass


class Scrape:
    """Asks a stage's hub, as Prometheus does."""

    def __init__(self, stage: Stage, folder: Path | None = None) -> None:
        self.is_ready = True
        self.metrics = Metrics(stage.core, lambda: self.is_ready, folder, stage.clock)
        self._clock = stage.clock

    def all(self) -> dict[str, float]:
        """Every sample, by its name and what stands behind it in braces."""
        self._clock.go(FRESH_S)
        return samples(self.metrics.answer("")[0])

    def __getitem__(self, name: str) -> float:
        return self.all()[name]


def samples(body: bytes) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found
            found[name] = sample.value
    return found


# The exposition


async def test_both_formats_are_what_prometheus_reads_and_say_the_same(stage: Stage) -> None:
    percy = await stage.client("percy")
    await percy.join("general")
    await percy.ask("send_message", {"message": "hi"})
    metrics = Scrape(stage).metrics
    body, media_type = metrics.answer("text/html, text/plain;q=0.9, */*;q=0.1")
    open_body, open_media_type = metrics.answer(OPEN)
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert open_media_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = list(open_parser.text_string_to_metric_families(open_body.decode()))  # type: ignore[no-untyped-call]  # no types
    opened = {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}
    plain = {
        (each.name, *each.labels.values()): each.value
        for family in text_string_to_metric_families(body.decode())
        for each in family.samples
    }
    for varying in ("hubbub_cpu_seconds_total", "hubbub_memory_bytes"):
        del plain[varying,], opened[varying,]
    assert plain == opened
    assert all(family.documentation.endswith(".") for family in families)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "text/plain; version=x.y",
        "a" * 8000,
        "application/openmetrics-text; version=\x7f; escaping=nothing",
        "é,,;;=",
    ],
)
async def test_no_accept_header_is_too_strange(stage: Stage, accept: str) -> None:
    body, media_type = Scrape(stage).metrics.answer(accept)
    assert b"hubbub_ready 1.0" in body
    assert media_type.encode("ascii").isascii()
    assert "nothing" not in media_type


def test_a_histogram_counts_what_is_as_large_as_its_bound_below_it() -> None:
    sizes = Buckets((1, 2, 4))
    for size in (1, 2, 2, 3, 4, 5, 9):
        sizes.add(size)
    assert (sizes.buckets, sizes.total) == ([1, 2, 2, 2], 26)


async def test_whoever_asks_again_at_once_gets_the_same_answer(stage: Stage) -> None:
    scrape = Scrape(stage)
    assert scrape["hubbub_connections{dialect=v1}"] == 0
    await stage.client("percy")
    assert samples(scrape.metrics.answer("")[0])["hubbub_connections{dialect=v1}"] == 0
    assert scrape["hubbub_connections{dialect=v1}"] == 1


async def test_asking_costs_the_same_however_many_rooms_and_members_there_are(stage: Stage) -> None:
    scrape = Scrape(stage)
    percy, alice = await stage.client("percy"), await stage.client("alice")
    await percy.join("room0")

    def cost() -> int:
        stage.clock.go(FRESH_S)
        with Bytecodes() as counted:
            scrape.metrics.tally()
        return counted.count

    cost()
    before = cost()
    for number in range(200):
        await percy.join(f"room{number}")
        await alice.join(f"room{number}")
    # Newer versions of CPython count a few bytecodes more or less; one for each room would be hundreds.
    assert cost() < 1.05 * before
    assert scrape["hubbub_rooms"] == 200


async def test_no_client_makes_a_number_that_was_not_there_before() -> None:
    hub = Hub()

    @hub.on
    def vote(vote: Vote, client: Client) -> None:
        raise Refused("a code of the application's own", "no")

    async with at_work(hub) as stage:
        scrape = Scrape(stage)
        before = scrape.all().keys()
        percy = await stage.client("percy", rate=1)
        for number in range(300):
            percy.say(f"type {number}", {}, number)
        percy.say_text('{"type":')
        percy.say("vote", {}, 1)
        await percy.hear()
        percy.client.close(4999, "as the application likes")
        stage.core.counts.deny(599)
        stage.core.counts.close(4999)
        stage.core.counts.refuse("another")
        after = scrape.all()
        assert after.keys() == before
        assert after["hubbub_refusals_total{code=other}"] == 1
        assert after["hubbub_upgrades_refused_total{status=other}"] == 1
        assert after["hubbub_connections_closed_total{code=other}"] == 1
        assert after["hubbub_refusals_total{code=rate_limited}"] == 102


# What the numbers mean


async def test_connections_are_counted_by_dialect(stage: Stage) -> None:
    scrape = Scrape(stage)
    percy, _ = await stage.client("percy"), await stage.client("alice", CLASSIC)
    percy.hang_up()
    percy.hang_up()
    found = scrape.all()
    assert found["hubbub_connections{dialect=v1}"] == 0
    assert found["hubbub_connections{dialect=classic}"] == 1
    assert found["hubbub_connections_opened_total{dialect=v1}"] == 1
    assert found["hubbub_connections_opened_total{dialect=classic}"] == 1


@pytest.mark.parametrize("slice_members", [2000, 1], ids=["at once", "in slices"])
async def test_messages_come_in_once_and_are_delivered_to_each_member(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, slice_members: int
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", slice_members)
    scrape = Scrape(stage)
    guests = [await stage.client(f"user{number}", CLASSIC) for number in range(5)]
    for guest in guests:
        guest.say("send_message", {"message": "hi"})
    await stage.core.drained()
    found = scrape.all()
    assert found["hubbub_messages_total"] == 5
    assert found["hubbub_deliveries_total"] == 25
    assert found["hubbub_batch_messages_count"] == 1
    assert found["hubbub_batch_messages_sum"] == 5
    assert found["hubbub_batch_messages_bucket{le=4}"] == 0
    assert found["hubbub_batch_messages_bucket{le=8}"] == 1


async def test_what_a_dialect_does_not_have_is_not_delivered() -> None:
    hub = Hub()

    @hub.on
    def vote(vote: Vote, client: Client) -> None:
        hub.room("general").post(vote)

    async with at_work(hub) as stage:
        scrape = Scrape(stage)
        percy = await stage.client("percy")
        await stage.client("alice", CLASSIC)
        await percy.join("general")
        await percy.ask("vote", {})
        assert scrape["hubbub_deliveries_total"] == 1


async def test_how_long_a_batch_takes_is_counted_from_its_first_message() -> None:
    clock = Clock()
    engine = GatedEngine(clock=clock)
    async with at_work(engine=engine, clock=clock) as stage:
        scrape = Scrape(stage)
        percy = await stage.client("percy", CLASSIC)
        engine.appends[0].close()
        percy.say("send_message", {"message": "hi"})
        await engine.appends[0].reached()
        clock.go(0.2)
        percy.say("send_message", {"message": "meanwhile"})
        clock.go(2)
        engine.appends[0].open()
        await stage.core.drained()
        found = scrape.all()
        assert found["hubbub_append_seconds_bucket{le=2.5}"] == found["hubbub_append_seconds_count"] == 2
        assert found["hubbub_append_seconds_bucket{le=1}"] == 1, "the second had nothing to wait for itself"
        assert found["hubbub_delivery_seconds_bucket{le=1}"] == 0, "but the message had waited for the first"
        assert found["hubbub_delivery_seconds_sum"] == pytest.approx(2.2 + 2)


async def test_messages_that_are_not_kept_are_counted_apart() -> None:
    async with at_work(engine=FullDisk()) as stage:
        scrape = Scrape(stage)
        percy = await stage.client("percy")
        await percy.join("general")
        with pytest.raises(Refused):
            await percy.ask("send_message", {"message": "hi"})
        found = scrape.all()
        assert (found["hubbub_messages_total"], found["hubbub_messages_failed_total"]) == (0, 1)
        assert found["hubbub_refusals_total{code=unavailable}"] == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no", "bad_json"),
        ("{}", "bad_envelope"),
        ('{"type":"nothing","payload":{}}', "unknown_type"),
        ('{"type":"join_room","payload":{"room":""}}', "bad_payload"),
        ('{"type":"send_message","payload":{"room":"lunch","message":"hi"}}', "not_in_room"),
        ('{"type":"admin_block","payload":{"user":"alice"}}', "forbidden"),
    ],
)
async def test_refusals_are_counted_by_their_codes(stage: Stage, text: str, code: str) -> None:
    scrape = Scrape(stage)
    percy = await stage.client("percy")
    percy.say_text(text)
    await percy.hear()
    found = scrape.all()
    assert {each: found[f"hubbub_refusals_total{{code={each}}}"] for each in CODES if each != code} == dict.fromkeys(
        [each for each in CODES if each != code], 0
    )
    assert found[f"hubbub_refusals_total{{code={code}}}"] == 1


async def test_who_comes_back_is_counted_by_whether_it_was_told_all(stage: Stage) -> None:
    scrape = Scrape(stage)
    percy = await stage.client("percy")
    place = await percy.join("general")
    since = {"epoch": place["epoch"], "seq": place["seq"]}
    await percy.join("general", since=since)
    await percy.join("general", since=since)
    await percy.join("general", since={"epoch": "another", "seq": 3})
    found = scrape.all()
    assert found["hubbub_resumes_recovered_total"] == 2
    assert found["hubbub_resumes_not_recovered_total"] == 1


async def test_what_the_log_has_lost_is_counted(stage: Stage) -> None:
    scrape = Scrape(stage)
    percy = await stage.client("percy")
    await percy.join("general")
    for _ in range(3):
        await percy.ask("send_message", {"message": "hi"})
    stage.core.rooms.rewound("general", Head("next", 3))
    assert scrape["hubbub_epochs_total"] == 1
    stage.core.rooms.rewound("general", Head("last", 1))
    found = scrape.all()
    assert (found["hubbub_rewinds_total"], found["hubbub_epochs_total"]) == (1, 1)
    stage.core.rooms.hole("general", 2, 4)
    assert scrape["hubbub_holes_total"] == 0, "nobody is there any more"
    alice = await stage.client("alice")
    await alice.join("general")
    stage.core.rooms.hole("general", 4, 9)
    assert scrape["hubbub_holes_total"] == 1


async def test_a_slow_reader_is_slow_and_behind_until_it_has_read(stage: Stage) -> None:
    scrape = Scrape(stage)
    percy, alice = await stage.client("percy"), await stage.client("alice")
    await percy.join("general")
    await alice.join("general")
    alice.read_slowly()
    for _ in range(3):
        await percy.ask("send_message", {"message": "hi"})
    found = scrape.all()
    assert (found["hubbub_slow_clients"], found["hubbub_behind_members"]) == (1, 1)
    assert found["hubbub_deliveries_total"] == 4, "the first was written to both"
    alice.read_on()
    await alice.hear()
    found = scrape.all()
    assert (found["hubbub_slow_clients"], found["hubbub_behind_members"]) == (0, 0)
    assert (found["hubbub_deliveries_total"], found["hubbub_deliveries_fed_total"]) == (6, 2)


async def test_one_that_is_fed_page_after_page_is_behind_once_and_its_gaps_are_counted() -> None:
    async with at_work(engine=MemoryEngine(clock=Clock(), wall=Clock(), keep=700)) as stage:
        scrape = Scrape(stage)
        percy = await stage.client("percy")
        await percy.join("general")
        percy.read_slowly()
        for number in range(1000):
            stage.hub.room("general").post(NewMessage(str(number)))
            if number % 100 == 0:
                await stage.core.drained()
        await stage.core.drained()
        assert scrape["hubbub_behind_members"] == 1
        percy.read_on()
        await stage.core.drained()
        found = scrape.all()
        assert found["hubbub_gaps_total"] == 1
        assert found["hubbub_behind_members"] == 0
        assert found["hubbub_deliveries_fed_total"] == 700


@pytest.mark.parametrize("seed", range(20))
async def test_as_many_are_behind_as_are_counted_whatever_happens(seed: int) -> None:
    chance = random.Random(seed)
    async with at_work() as stage:
        scrape = Scrape(stage)
        guests = [await stage.client(f"user{number}") for number in range(4)]
        for _ in range(80):
            guest = chance.choice(guests)
            room = f"room{chance.randrange(3)}"
            match chance.randrange(7):
                case 0 | 1:
                    guest.say("join_room", {"room": room, "since": {"epoch": "no", "seq": 1}})
                case 2:
                    guest.say("leave_room", {"room": room})
                case 3 | 4:
                    guest.say("send_message", {"room": room, "message": "hi"})
                case 5:
                    guest.read_slowly()
                case _:
                    guest.read_on()
            if chance.randrange(2):
                await stage.core.drained()
            else:
                await asyncio.sleep(0)
            behind = [
                place
                for live in map(stage.core.rooms.find, ("room0", "room1", "room2"))
                if live is not None
                for place in live.members.values()
                if place.standing is Standing.BEHIND
            ]
            assert scrape["hubbub_behind_members"] == len(behind)
        for guest in guests:
            guest.hang_up()
        assert scrape["hubbub_behind_members"] == scrape["hubbub_slow_clients"] == 0


async def test_what_the_server_is_at_can_be_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    scrape = Scrape(stage)

    def state() -> tuple[float, ...]:
        found = scrape.all()
        return tuple(found[f"hubbub_{name}"] for name in ("workers", "ready", "draining", "engine_up"))

    assert state() == (1, 1, 0, 1)
    monkeypatch.setattr(MemoryEngine, "is_up", False)
    scrape.is_ready = False
    assert state() == (1, 0, 0, 0)
    stage.core.leave()
    assert stage.core.state is ServiceState.LEAVING
    assert state() == (1, 0, 1, 0)
    assert scrape["hubbub_memory_bytes"] > 1 << 20
    assert scrape["hubbub_cpu_seconds_total"] > 0


async def test_an_engine_over_a_network_has_its_own_counts() -> None:
    class Networked(MemoryEngine):
        counts = EngineCounts()

    clock = Clock()
    async with at_work(engine=Networked(clock=clock, wall=clock)) as stage:
        counts = Networked.counts
        counts.round_trips, counts.retries, counts.reconnects, counts.repairs, counts.heard = range(1, 6)
        found = Scrape(stage).all()
        names = ("round_trips", "retries", "reconnects", "repairs", "heard")
        assert [found[f"hubbub_engine_{name}_total"] for name in names] == [1, 2, 3, 4, 5]


async def test_a_loop_that_is_held_up_is_late(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    scrape = Scrape(stage)
    slept = []

    async def sleep_long(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 2:
            raise ZeroDivisionError
        now.go(seconds + 0.07)

    now = Clock()
    monkeypatch.setattr(asyncio, "sleep", sleep_long)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", now)
    with pytest.raises(ZeroDivisionError):
        await scrape.metrics.watch_loop()
    monkeypatch.undo()
    found = scrape.all()
    assert found["hubbub_loop_lag_seconds_count"] == found["hubbub_loop_lag_seconds_bucket{le=0.1}"] == 2
    assert found["hubbub_loop_lag_seconds_bucket{le=0.05}"] == 0


# Several processes


@pytest.fixture
def folder() -> Iterator[Path]:
    with new_folder() as made:
        yield made


async def test_each_process_tells_of_all_and_no_counter_falls(folder: Path) -> None:
    async with at_work() as one, at_work() as other:
        scrapes = [Scrape(one, folder), Scrape(other, folder)]
        guests = [await one.client("percy", CLASSIC), await other.client("alice", CLASSIC)]
        found = [0.0]
        showing = [asyncio.create_task(scrape.metrics.show(scrape.metrics._tallies)) for scrape in scrapes]  # type: ignore[arg-type]  # set
        await asyncio.sleep(0)
        for number in range(6):
            guests[number % 2].say("send_message", {"message": "hi"})
            await one.core.drained()
            await other.core.drained()
            found.append(scrapes[number % 2]["hubbub_messages_total"])
            found.append(scrapes[1 - number % 2]["hubbub_messages_total"])
        assert found == sorted(found)
        for task in showing:
            task.cancel()
        await asyncio.gather(*showing, return_exceptions=True)
        for scrape in scrapes:
            everything = scrape.all()
            assert everything["hubbub_messages_total"] == 6
            assert everything["hubbub_workers"] == 2
            assert everything["hubbub_connections{dialect=classic}"] == 2


async def test_a_process_that_has_died_is_not_there_any_more_and_what_it_did_is_not_undone(folder: Path) -> None:
    async with at_work() as dying, at_work() as living:
        guest = await dying.client("percy", CLASSIC)
        guest.say("send_message", {"message": "hi"})
        await dying.core.drained()
        last = Scrape(dying, folder)
        assert last["hubbub_messages_total"] == 1
        # In the test they have one pid: the file of the one that lives is made only after the burial.
        bury(folder, int(next(folder.iterdir()).name.partition("-")[0]))
        found = Scrape(living, folder).all()
        assert found["hubbub_workers"] == 1
        assert found["hubbub_connections{dialect=classic}"] == 0
        assert found["hubbub_messages_total"] == 1
        assert found["hubbub_delivery_seconds_count"] == 1


async def test_without_its_folder_a_process_tells_of_itself_and_says_so_a_few_times(stage: Stage) -> None:
    scrape = Scrape(stage, Path("/nonexistent"))
    with capture_logs() as lines:
        for _ in range(100):
            assert scrape["hubbub_workers"] == 1
    assert 1 <= len(lines) < 10


# The page and the dashboard


def exported() -> set[str]:
    """The names that can be asked for."""
    ends = {
        MetricKind.COUNTER: ("_total",),
        MetricKind.GAUGE: ("",),
        MetricKind.HISTOGRAM: ("_bucket", "_sum", "_count"),
    }
    return {"hubbub_build_info"} | {entry.name + end for entry in TABLE for end in ends[entry.kind]}


async def test_what_is_exported_is_what_the_table_says(stage: Stage) -> None:
    assert {name.partition("{")[0] for name in Scrape(stage).all()} == exported()


def test_the_page_of_metrics_tells_of_each_and_of_no_other() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    told = set(re.findall(r"^\| `(hubbub_\w+)", page, re.MULTILINE))
    ends = {MetricKind.COUNTER: "_total", MetricKind.GAUGE: "", MetricKind.HISTOGRAM: ""}
    assert told == {"hubbub_build_info"} | {entry.name + ends[entry.kind] for entry in TABLE}
    for entry in TABLE:
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{entry.name}{ends[entry.kind]}`")]
        label = "code" if entry.label == "close" else entry.label
        assert row.split("|")[2].strip() == entry.kind.value
        assert row.split("|")[3].strip() == (f"`{label}`" if label else "")
    assert set(re.findall(r"\bhubbub_\w+", page)) <= exported() | {entry.name for entry in TABLE}


def test_the_dashboard_asks_for_what_is_there_and_shows_all_of_it() -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "hubbub.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    asked: set[str] = set()
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        for target in panel["targets"]:
            names = set(re.findall(r"\bhubbub_\w+", target["expr"]))
            assert names <= exported(), panel["title"]
            asked |= names
            assert target["datasource"] == panel["datasource"]
            assert 'instance=~"$instance"' in target["expr"]
            for rated in re.findall(r"(\w+)\(hubbub_(\w+)", target["expr"]):
                assert (rated[0] in ("rate", "increase")) == rated[1].endswith(("_total", "_bucket", "_sum", "_count"))
        assert panel["description"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    tiles = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(tiles) == len(set(tiles)), "panels lie on each other"
    assert max(x for x, _ in tiles) < 24
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert set(variables) == {"datasource", "instance"}
    shown = {entry.name for entry in TABLE if any(name.startswith(entry.name) for name in asked)}
    assert shown == {entry.name for entry in TABLE}
