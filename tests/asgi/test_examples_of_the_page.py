"""docs/your-application.md, followed from its top to its end: each of its pieces of code runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from asgi.guide import ROOT, blocks, following
from chromium import CHROMIUM, CHROMIUM_ARGS
from deploy.sites import Site, caddy_site, nginx_site
from deploy.test_behind_proxies import Front, front
from deploy.tools import DEPLOY
from redis_servers import needs_redis, redis_server

PAGE = ROOT / "docs" / "your-application.md"
WAIT_S = 30.0
WAIT_MS = 1000 * WAIT_S
OF_DJANGO = ["Django", "A program of a user's", "A worker"]
OF_FASTAPI = ["FastAPI", "The application speaks", "A program of a user's", "A worker", "Testing", "Moving to Redis"]
OF_PROXIES = ["Behind nginx or Caddy"]


def test_all_of_the_page_is_followed() -> None:
    found = list(blocks(PAGE))
    assert {block.heading for block in found} == {*OF_DJANGO, *OF_FASTAPI, *OF_PROXIES}
    assert {block.language for block in found if not block.file} == {"sh", "html", "js"}
    assert len(found) == PAGE.read_text().count("\n```") / 2


@contextmanager
def browsing() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        page = browser.new_page()
        page.set_default_timeout(WAIT_MS)
        yield page
        browser.close()


def expect_to_be_in_the_chat(page: Page) -> None:
    expect(page.get_by_role("log")).to_have_attribute("aria-busy", "false", timeout=WAIT_MS)


def script_of(html: str) -> str:
    """What stands in the one script of a page."""
    [script] = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    return str(script)


@needs_redis
def test_fastapi(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path / "redis") as redis,
        following(PAGE, tmp_path / "here", ("127.0.0.1:6379", f"127.0.0.1:{redis.port}")) as guide,
    ):
        guide.follow("FastAPI")
        with browsing() as page:
            page.goto(guide.url)
            page.locator("[name=user]").fill("zoe")
            page.locator("[name=password]").fill("correct horse")
            page.get_by_role("button", name="Sign in").click()
            expect_to_be_in_the_chat(page)
            guide.follow("The application speaks")
            page.goto(guide.url)
            script = script_of(guide.shown("The application speaks", "html"))
            page.add_script_tag(type="module", content=f"{script};window.isInKitchen = true;")
            page.wait_for_function("() => window.isInKitchen")
            answer = page.request.post(f"{guide.url}/orders", form={"dish": "soup"})
            assert answer.ok, answer.text()
            expect(page.locator("body")).to_contain_text("soup, for zoe", timeout=WAIT_MS)
            assert page.request.post(f"{guide.url}/token").text().startswith("eyJ")
        assert guide.follow("A program of a user's") == ["kept as message 2\n"]
        guide.follow("A worker")
        guide.follow("Testing")
        guide.follow("Moving to Redis")
        assert guide.follow("A program of a user's") == ["kept as message 2\n"]
        assert "Traceback" not in guide.log()


def test_django(tmp_path: Path) -> None:
    with following(PAGE, tmp_path / "here") as guide:
        guide.follow("Django")
        with browsing() as page:
            page.goto(f"{guide.url}/admin/")
            page.locator("[name=username]").fill("zoe")
            page.locator("[name=password]").fill("correct horse")
            page.locator("[type=submit]").click()
            expect(page.get_by_role("heading", name="Site administration")).to_be_visible()
            page.goto(f"{guide.url}/chat/")
            expect_to_be_in_the_chat(page)
            page.goto(f"{guide.url}/admin/")
            page.evaluate(f"async () => {{ {guide.shown('Django', 'js')} }}")
            csrf = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}["csrftoken"]
            answer = page.request.post(f"{guide.url}/token", headers={"X-CSRFToken": csrf})
            assert answer.text().startswith("eyJ"), answer.text()
        assert guide.follow("A program of a user's") == ["kept as message 2\n"]
        guide.follow("A worker")
        assert "Traceback" not in guide.log()


@pytest.mark.parametrize(
    ("make", "example", "file", "change"),
    [
        (nginx_site, "nginx.conf", "kitchen.conf", (" non_idempotent", "")),
        (caddy_site, "Caddyfile", "Caddyfile", ("/readyz", "/chat/readyz")),
    ],
    ids=["nginx", "caddy"],
)
def test_behind_a_proxy(
    tmp_path: Path, make: Callable[..., Site], example: str, file: str, change: tuple[str, str]
) -> None:
    with following(PAGE, tmp_path / "here") as guide:
        guide.follow("FastAPI")
        guide.follow("Behind nginx or Caddy")
        # The site gets the same changes below.
        text = (DEPLOY / example).read_text()
        for old, new in [("127.0.0.1:8080", f"127.0.0.1:{guide.port}"), change]:
            text = text.replace(old, new)
        assert (guide.folder / file).read_text() == text

        def is_ready(found: Front) -> bool:
            return found.request("GET", "/chat/readyz")[0] == 200

        with front(tmp_path / "proxy", make, [guide.port], change, is_up=is_ready) as site:
            claims = {"sub": "zoe", "exp": time.time() + 300}
            token = jwt.encode(claims, guide.env["SECRET"], "HS256")
            status, answer = site.request("POST", "/chat/otp", token=token)
            assert status == 200, answer
            with site.enter(answer["otp"], "/chat/ws") as connection:
                assert json.loads(connection.recv(WAIT_S))["payload"]["user"] == "zoe"
        assert "Traceback" not in guide.log()
