"""Log lines that a stranger can cause."""

from __future__ import annotations

import structlog

from hubbub.ration import Ration
from hubbub.wire.head import bad
from hubbub.wire.refusals import LINES, LINES_EVERY_S, UpgradeRefusals


def test_some_at_once_and_then_one_in_a_while() -> None:
    ration = Ration(3, 10.0)
    assert [ration.take(100.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert ration.take(109.0) is None
    assert ration.take(110.5) == 3
    assert ration.take(110.5) is None
    assert [ration.take(1000.0) for _ in range(4)] == [1, 0, 0, None]


def test_refusals_are_info_while_they_are_few() -> None:
    refusals = UpgradeRefusals()
    with structlog.testing.capture_logs() as lines:
        for now in [0.0] * (LINES + 10) + [LINES_EVERY_S]:
            refusals.note(bad("no"), "192.0.2.1", now)
    levels = [line.pop("log_level") for line in lines]
    assert levels == ["info"] * LINES + ["debug"] * 10 + ["info"]
    assert lines[0] == {"event": "upgrade refused", "status": 400, "reason": "no", "address": "192.0.2.1"}
    assert lines[-1]["left_out"] == 10
