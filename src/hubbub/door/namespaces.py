"""Options of channels, by the namespace that their names begin with."""

from __future__ import annotations

import msgspec

__all__ = ["Namespace"]


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the channels of one namespace, under Centrifugo's names.

    Attributes:
        history_size: how many publications can be had again; None where nothing is said of it.
        history_ttl: and for how many seconds.
    """

    name: str = ""
    history_size: int | None = None
    history_ttl: float | None = None
