"""What comes of a batch, in a form to look at."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from hubbub.engine import Outcome, Receipt

__all__ = ["kept", "plain"]


async def kept(appending: Awaitable[list[Outcome]]) -> list[Receipt]:
    """The receipts of a batch without conflicts."""
    outcomes = await appending
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert receipts == outcomes, "a key was used for another message"
    return receipts


def plain(outcomes: Sequence[Outcome]) -> list[Receipt | tuple[str, int]]:
    """Outcomes that can be compared: a receipt, the key and the seq of a conflict, or the seq of what was stale."""
    return [each if isinstance(each, Receipt) else (getattr(each, "key", "stale"), each.seq) for each in outcomes]
