"""Which content coding a client takes: its Accept-Encoding, held against what there is (RFC 9110 section 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["takes_gzip"]

# A client lists a few codings; what stands behind these is not looked at.
MAX_CODINGS = 32

# A coding, and its weight (section 12.4.2).
WEIGHT = r"[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
MEMBER = re.compile(rf"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+){WEIGHT}")


def takes_gzip(accepted: Iterable[str]) -> bool:
    """Whether a client takes gzip, and likes it as much as the content as it is.

    A member that cannot be read counts for nothing; without any coding that can be, the content goes out as it is.

    Args:
        accepted: the values of its Accept-Encoding.
    """
    weights: dict[str, float] = {}
    for part in ",".join(accepted).split(",", MAX_CODINGS)[:MAX_CODINGS]:
        member = MEMBER.fullmatch(part)
        if member is not None:
            weights[member[1].lower()] = float(member[2] or 1)
    others = weights.get("*", 0.0)
    # The name that HTTP/1.0 had for it (section 8.4.1.3).
    gzip = weights.get("gzip", weights.get("x-gzip", others))
    # Content as it is need not be listed, and is then liked least.
    return gzip > 0 and gzip >= weights.get("identity", 0.0)
