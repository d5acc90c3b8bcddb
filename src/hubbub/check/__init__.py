"""Holding a server to the protocol page, as an outside client."""

from __future__ import annotations

from hubbub.check.runner import Report, Result, Verdict, run
from hubbub.check.target import Target

__all__ = ["Report", "Result", "Target", "Verdict", "run"]
