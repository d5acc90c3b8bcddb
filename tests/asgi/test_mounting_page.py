"""What docs/mounting.md shows, run: a hub below /chat of an application of each framework."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings

from asgi_server import ask, lifespan

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "mounting.md"
# In the order of the page.
FRAMEWORKS = ("fastapi", "fastapi with a lifespan", "django", "litestar")
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The page's code, in its order; what runs finds no settings of a developer's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return FENCE.findall(PAGE.read_text())


def run(example: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(example, str(PAGE), "exec", dont_inherit=True), names)
    return names


async def assert_mounted(app: Any) -> None:
    """It answers below /chat, and starts and stops with the application."""
    async with lifespan(app) as answers:
        assert answers == [{"type": "lifespan.startup.complete"}]
        assert (await ask(app, "GET", "/chat/healthz")).body == b"ok"
        assert b"Hubbub" in (await ask(app, "GET", "/chat/")).body
        assert (await ask(app, "GET", "/elsewhere", b"")).status == 404
    assert answers[-1] == {"type": "lifespan.shutdown.complete"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_the_examples_of_the_page_run(examples: list[str], framework: str) -> None:
    hub, *others = examples
    example = dict(zip(FRAMEWORKS, others, strict=True))[framework]
    names = run(hub, {"__name__": "example"})
    if framework == "fastapi with a lifespan":
        run(others[0], names)
    if framework == "django" and not settings.configured:
        urls = types.ModuleType("urls")
        urls.urlpatterns = []  # type: ignore[attr-defined]
        settings.configure(ROOT_URLCONF=urls, SECRET_KEY="x", ALLOWED_HOSTS=["*"])
        django.setup()
    run(example, names)
    await assert_mounted(names.get("application") or names["app"])
