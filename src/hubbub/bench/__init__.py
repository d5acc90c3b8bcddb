"""`hubbub bench`: load for a server that speaks the protocol, and what it makes of it."""

from __future__ import annotations

from hubbub.bench.results import Figure, Latency, Run, Sample, ScenarioResult

__all__ = ["Figure", "Latency", "Run", "Sample", "ScenarioResult"]
