"""The example fastapi_app.py, with worker.py beside it, under every server."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi.applications import SERVERS, serving
from asgi.visits import visit


@pytest.mark.parametrize("server", SERVERS)
def test_users_of_the_application_talk_and_order_and_a_worker_cooks(server: str, tmp_path: Path) -> None:
    with serving(server, "fastapi_app:app", tmp_path) as app:
        visit(app)
