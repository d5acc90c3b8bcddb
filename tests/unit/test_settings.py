"""What settings mean where they are not set: as many connections as there are descriptors for."""

from __future__ import annotations

import pytest

from hubbub import settings
from hubbub.settings import OWN_FILES, Settings


@pytest.mark.parametrize(
    ("files", "clients", "pending"),
    [(20_000, 17_500, 2436), (1024, 768, 192), (256, 128, 64), (200, 100, 36), (64, 32, 10), (1, 1, 1)],
)
def test_every_limit_of_open_files_has_room_for_each_kind(
    monkeypatch: pytest.MonkeyPatch, files: int, clients: int, pending: int
) -> None:
    monkeypatch.setattr(settings, "files_limit", lambda: files)
    found = Settings()
    assert (found.clients_limit, found.pending_limit) == (clients, pending)
    if files > 2 * OWN_FILES:
        assert clients + pending + min(OWN_FILES, clients // 2) <= files


def test_what_each_process_counts_is_divided_among_workers() -> None:
    found = Settings(workers=4, max_clients=10, max_pending=8, max_clients_per_address=1)
    assert (found.clients_limit, found.pending_limit, found.share(found.max_clients_per_address)) == (3, 2, 1)
    assert Settings(workers=4, max_clients=0, max_pending=0).clients_limit == 0, "no limit stays none"


def test_what_comes_from_the_limit_of_open_files_is_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "files_limit", lambda: 20_000)
    assert Settings(workers=4).clients_limit == Settings().clients_limit
    assert Settings(workers=4).pending_limit == Settings().pending_limit
