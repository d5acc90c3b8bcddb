"""What the service manager is told."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from hubbub.systemd import READY, RELOADING, STOPPING, notify


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_service_manager_is_told_where_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    address = f"@{tmp_path}" if is_abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        for state in (READY, RELOADING, STOPPING):
            notify(state)
        assert manager.recv(100) == b"READY=1"
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", manager.recv(100))
        assert manager.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "relative", "x" * 200])
def test_where_nobody_listens_nobody_is_told(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify(READY)
