"""The middle of what was measured."""

from __future__ import annotations

from statistics import median

from comparison.results import Results
from hubbub.bench.plots import Spread

__all__ = ["Medians"]


class Medians:
    """The middle of each figure's rounds, with the least and the most of them."""

    def __init__(self, results: Results) -> None:
        self._rounds_of = results.rounds_of

    def spread(self, load: str, server: str, figure: str) -> Spread | None:
        """One figure; None when no round has it."""
        rounds = self._rounds_of.get(load, {}).get(server, [])
        values = [one[figure] for one in rounds if figure in one]
        return Spread(median(values), min(values), max(values)) if values else None

    def ratio(self, load: str, figure: str, server: str, to: str) -> float | None:
        """One server's figure as a multiple of another's."""
        mine, theirs = self.spread(load, server, figure), self.spread(load, to, figure)
        return mine.value / theirs.value if mine and theirs and theirs.value else None
