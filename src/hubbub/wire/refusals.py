"""Log lines of refused requests for a WebSocket: browsers tell a page no reason, so the log has to."""

from __future__ import annotations

import structlog

from hubbub.ration import Ration
from hubbub.wire.denial import Denied

__all__ = ["UpgradeRefusals"]

log = structlog.get_logger("hubbub.wire")

LINES, LINES_EVERY_S = 20, 1.0


class UpgradeRefusals:
    """Writes a line for each refusal, at `info` while they are few and at `debug` while they are many."""

    def __init__(self) -> None:
        self._lines = Ration(LINES, LINES_EVERY_S)

    def note(self, denied: Denied, address: str, now: float) -> None:
        """Log that a request from `address` was refused at `now`, in seconds."""
        left_out = self._lines.take(now)
        write = log.debug if left_out is None else log.info
        more = {"left_out": left_out} if left_out else {}
        write("upgrade refused", status=denied.status.value, reason=denied.message, address=address, **more)
