"""The suites: each some servers, and the loads that all of them are put to."""

from __future__ import annotations

from typing import Literal, NamedTuple

from comparison import candidates, channels, chat
from comparison.candidates import Candidate
from comparison.loads import Workload
from comparison.results import CHANNELS, CHAT

__all__ = ["SUITES", "Suite"]


class Suite(NamedTuple):
    """Servers and loads, by name."""

    name: Literal["channels", "chat"]
    servers: dict[str, Candidate]
    loads: dict[str, Workload]


SUITES = {
    suite.name: suite
    for suite in (
        Suite(CHANNELS, {server.name: server for server in candidates.CHANNELS}, channels.LOADS),
        Suite(CHAT, {server.name: server for server in candidates.CHAT}, chat.LOADS),
    )
}
