"""The example django_app.py, with worker.py beside it, under every server by plain ASGI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asgi.applications import EXAMPLES, PLAIN, SECRET, serving
from asgi.visits import NAME, PASSWORD, visit

USER = ("--noinput", "--username", NAME, "--email", "zoe@example.com")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A database of Django's with a user in it, as the environment names it."""
    env = {"DATABASE": str(tmp_path_factory.mktemp("django") / "django.sqlite3"), "SECRET": SECRET}
    manage(env, "migrate", "--verbosity", "0")
    manage(env | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}, "createsuperuser", *USER)
    return env


def manage(env: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, "django_app.py", *arguments], cwd=EXAMPLES, env=os.environ | env, check=True)


@pytest.mark.parametrize("server", PLAIN)
def test_users_of_the_application_talk_and_order_and_a_worker_cooks(
    server: str, tmp_path: Path, database: dict[str, str]
) -> None:
    with serving(server, "django_app:application", tmp_path, database) as app:
        visit(app)
