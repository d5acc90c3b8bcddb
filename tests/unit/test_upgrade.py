"""What stands between a connection and its client: how a client's end is logged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from hubbub.wire import upgrade as module
from hubbub.wire.upgrade import Visitor


class Gone:
    """A client that is gone, and whatever else is told of it."""

    user, refused, dropped = "percy", 0, 0

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


def levels(code: int, *, by_us: bool) -> list[str]:
    """At which levels a client's end is logged."""
    rest: Any = SimpleNamespace(dispatch=Gone(), disconnect=lambda _client: None, places=Gone(), counts=Gone())
    visitor = Visitor(SimpleNamespace(core=rest, door=rest), Gone(), "10.0.0.1")  # type: ignore[arg-type]  # what is called of them
    with capture_logs() as lines:
        visitor.closed(code, "", by_us=by_us)
    return [line["log_level"] for line in lines]


@pytest.mark.parametrize("code", [1000, 1002, 1008, 1011, 3000, 4000, 4102, 4999])
def test_a_close_code_that_a_client_chose_is_no_warning(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    assert levels(code, by_us=False) == []
    monkeypatch.setattr(module, "is_debugging", lambda: True)
    assert levels(code, by_us=False) == ["debug"]


def test_a_close_of_the_server_for_cause_is_one() -> None:
    assert levels(4102, by_us=True) == ["warning"]
    assert levels(1012, by_us=True) == []
