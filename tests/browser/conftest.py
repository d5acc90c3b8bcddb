"""Fixtures of the browser tests: Chromium, a real server, and people who use the page in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from people import Person
from playwright.sync_api import Browser, expect, sync_playwright
from restartable import RestartableServer

from chromium import CHROMIUM, CHROMIUM_ARGS

# Generous: it is reached only where something is broken, or the machine very busy.
EXPECT_MS = 20_000


# Module scope and not session: as long as playwright's sync API is open, its event loop
# counts as running in this thread, and no other test could start one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if shutil.which(CHROMIUM) is None:
        pytest.fail(f"no Chromium at {CHROMIUM}; HUBBUB_CHROMIUM names another")
    expect.set_options(timeout=EXPECT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestartableServer]:
    server = RestartableServer(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def someone(browser: Browser, server: RestartableServer) -> Iterator[Callable[..., Person]]:
    """Seat a person at the page, in a browser context of their own."""
    with ExitStack() as contexts:

        def arrive(url: str = server.url, width: int = 1200, height: int = 750) -> Person:
            # Who signed the certificate is not what these tests are about.
            context = browser.new_context(ignore_https_errors=True, viewport={"width": width, "height": height})
            contexts.callback(context.close)
            return Person(context.new_page(), url)

        yield arrive
