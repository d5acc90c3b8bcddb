"""What Prometheus is told over the wire: by a server at work, under a flood of scrapes, and by one that stops."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from servers import ServerProcess, running
from wire.raw_clients import Raw, Tickets, ask, memory, page, wait_until

PATIENT = ("--otp-ttl", "120", "--max-otps-per-account", "0", "--client-rate", "0")
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def scraped(body: bytes) -> dict[str, float]:
    """Samples by their names and the values of their labels."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def scrape(server: ServerProcess) -> dict[str, float]:
    answer = ask(server, "GET", "/metrics")
    assert answer.status == 200
    return scraped(answer.body)


def test_a_server_at_work_is_read_by_prometheus(tmp_path: Path) -> None:
    with running(tmp_path, *PATIENT) as server, ExitStack() as stack:
        tickets = Tickets(server)
        percy, alice = [stack.enter_context(page(server, tickets.otp(user), user)) for user in ("percy", "alice")]
        percy.say("hello")
        alice.assert_hears("hello", "percy")
        with Raw(server) as refused:
            refused.send(
                b"GET /ws?otp=x HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert refused.read_answer().status == 401
        found: dict[str, float] = {}

        def is_counted() -> bool:
            found.update(scrape(server))
            return bool(found["hubbub_upgrades_refused_total 401"] and found["hubbub_loop_lag_seconds_count"])

        wait_until(is_counted)
        assert found["hubbub_connections classic"] == found["hubbub_deliveries_total"] == 2
        assert found["hubbub_messages_total"] == found["hubbub_rooms"] == found["hubbub_ready"] == 1
        assert found["hubbub_append_seconds_count"] == found["hubbub_append_seconds_bucket +Inf"] == 1
        assert found["hubbub_memory_bytes"] == pytest.approx(memory(server), rel=0.3)


def test_a_flood_of_scrapes_and_readers_that_do_not_read_harm_nobody(tmp_path: Path) -> None:
    with running(tmp_path, *PATIENT) as server, ExitStack() as stack:
        tickets = Tickets(server)
        percy = stack.enter_context(page(server, tickets.otp(), "percy"))
        stack.enter_context(page(server, tickets.otp("alice"), "alice"))
        scrape(server)
        before = memory(server)
        for _ in range(20):
            stack.enter_context(Raw(server, receive_buffer=4096)).send(SCRAPE * 200)
        flood = stack.enter_context(Raw(server))
        for _ in range(50):
            flood.send(SCRAPE * 10)
            for _ in range(10):
                assert flood.read_answer().status == 200
            percy.assert_up()
        # What is written to one that does not read is a few answers, not the 200 that it has asked for.
        assert memory(server) - before < 20 * 200 * 10_000 / 2
        assert scrape(server)["hubbub_ready"] == 1


def test_one_that_stops_can_still_be_scraped_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path, *PATIENT) as server, ExitStack() as stack:
        # A peer that does not answer keeps the drain open for as long as it is waited for.
        silent = stack.enter_context(Raw.websocket(server, Tickets(server).otp()))
        os.kill(server.pid, signal.SIGTERM)
        silent.assert_closed(1012)
        found = scrape(server)
        assert (found["hubbub_ready"], found["hubbub_draining"]) == (0, 1)
        assert server._process.wait(15) == 0
