"""The page below a path of another application: nothing of it is at the root of the host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from people import Person
from playwright.sync_api import Browser, expect, sync_playwright

from chromium import CHROMIUM, CHROMIUM_ARGS
from mounted_servers import mounted

EXPECT_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=EXPECT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


def test_the_page_works_below_a_path(browser: Browser, tmp_path: Path) -> None:
    with mounted(tmp_path, "fast path") as server:
        context = browser.new_context(viewport={"width": 1200, "height": 750})
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        percy = Person(context.new_page(), f"{server.root}/chat")  # without the slash
        expect(percy.page).to_have_url(f"{server.root}/chat/")
        percy.enter("percy")
        percy.say("hello from below")
        percy.page.reload()  # its session is in a cookie of this path
        percy.expect_said("hello from below")
        [cookie] = context.cookies()
        assert (cookie["name"], cookie["path"]) == ("hubbub", "/chat")
        percy.go_to("kitchen")
        expect(percy.page).to_have_url(re.compile(rf"^{re.escape(server.root)}/chat/#/room/kitchen"))

        manifest = percy.page.locator('link[rel="manifest"]').evaluate("link => link.href")
        described = context.request.get(manifest).json()
        assert context.request.get(f"{server.origin}/{described['icons'][0]['src']}").ok
        percy.page.goto(f"{server.root}/chat/admin")
        expect(percy.page.get_by_text("This account is no admin")).to_be_visible()
        percy.page.locator(".brand").click()
        percy.expect_entered()
        assert [url for url in asked if not urlsplit(url).path.startswith("/chat")] == []
        assert percy.complaints == []
        context.close()
