"""Holding a server to the protocol page, as an outside client."""

from __future__ import annotations

from hubbub.check.runner import Outcome, Report, Result, run
from hubbub.check.target import Target

__all__ = ["Outcome", "Report", "Result", "Target", "run"]
