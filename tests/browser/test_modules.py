"""The page's modules, one by one, in Chromium and without a server: see modules/*.test.js."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route

import hubbub

ORIGIN = "https://hubbub.test"
WEB = Path(hubbub.__file__).parent / "web"
MODULES = Path(__file__).parent / "modules"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.route(f"{ORIGIN}/**", serve)
    page = context.new_page()
    page.goto(ORIGIN)
    yield page
    context.close()


def serve(route: Route) -> None:
    folder, _, name = route.request.url.removeprefix(f"{ORIGIN}/").partition("/")
    if not folder:
        route.fulfill(body="<!doctype html>", content_type="text/html")
    else:
        route.fulfill(path={"web": WEB, "modules": MODULES}[folder] / name, content_type="text/javascript")


@pytest.mark.parametrize("name", sorted(file.name for file in MODULES.glob("*.test.js")))
def test_module_keeps_its_rules(page: Page, name: str) -> None:
    failures = page.evaluate(
        """async (name) => {
            await import(`/modules/${name}`);
            const { runAll } = await import("/modules/testing.js");
            return await runAll();
        }""",
        name,
    )
    assert failures == [], "\n\n".join(failures)
