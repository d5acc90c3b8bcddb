"""How much is tried: the same examples each time, a minute of them altogether, or new ones for as long as is wanted."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

__all__ = ["FACTOR", "effort"]

# How many times as many examples, and new ones each time.
FACTOR = int(os.environ.get("HUBBUB_FUZZ", "0"))


def effort(examples: int) -> settings:
    """So many examples for one test.

    Without `HUBBUB_FUZZ` they are the same in each run, and no time is measured: nothing depends on luck, or on how
    busy the machine is.  A failure is reported as it was found; making it small takes minutes, and is left to longer
    runs.
    """
    return settings(
        max_examples=examples * max(FACTOR, 1),
        derandomize=not FACTOR,
        database=None,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if FACTOR else [])],
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
