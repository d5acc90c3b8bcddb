"""What one account may add to the log: bytes, rooms, and keys that are remembered."""

from __future__ import annotations

from hubbub.budgets import Purse, Use, spend, wait_for
from hubbub.errors import ErrorCode, Refused

__all__ = ["count_change", "count_posts", "count_room"]


def count_posts(purse: Purse, now: float, *, is_new: bool) -> None:
    """Count what an account has posted, before the last post goes anywhere.

    Args:
        is_new: that may be the first of its room.

    Raises:
        Refused: `rate_limited`; nothing of that post is kept, its key is as good as new.
    """
    wait = purse.settle(now)
    if wait:
        raise Refused(ErrorCode.RATE_LIMITED, "this account has added too much to the log", round(wait, 3))
    if is_new:
        wait = wait_for((purse,), Use.ROOMS, now)
        if wait:
            raise Refused(ErrorCode.RATE_LIMITED, "this account has made too many rooms", round(wait, 3))


def count_change(purse: Purse, size: int, *, has_key: bool, now: float) -> None:
    """Count a change of what was said, before it goes anywhere.

    Args:
        size: bytes that it adds to the log, and replaces there.

    Raises:
        Refused: as `count_posts` does.
    """
    purse.credit -= size
    purse.keys += has_key
    if purse.credit < 0:
        count_posts(purse, now, is_new=False)


def count_room(purse: Purse, now: float) -> None:
    """Count a room that an account has made."""
    spend((purse,), Use.ROOMS, 1.0, now)
    purse.settle(now)  # it may be the last one, and then each post is looked at
