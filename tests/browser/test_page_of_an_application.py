"""Users of an application that a hub is a part of: its cookie signs them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from people import Person
from playwright.sync_api import Browser, BrowserContext, expect

from clients.site import site
from servers import ServerProcess, running

# Its users have their session in a cookie, of which the hub knows nothing else.
APPLICATION = """
import hubbub

hub = hubbub.Hub()


@hub.authenticate
def check(credentials, request):
    return {"of-zoe": "Zoë <zoe@example.com>"}.get(request.cookies.get("session"))
"""

# A page of the application's, on a server of its own.
PAGE = """
<!doctype html>
<script type="module">
  import { Hubbub } from "SERVER/hubbub.js";
  const chat = new Hubbub("SERVER", { credentials: "include" });
  const show = (text) => (document.title = text);
  chat.signIn().then(() => chat.join("lunch")).then(() => show(`${chat.user} is in`), ({ code }) => show(code));
</script>
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[str]:
    """The origin of the application's pages, whose files are in `tmp_path/site`."""
    (tmp_path / "site").mkdir()
    with site(tmp_path / "site") as origin:
        yield origin


@pytest.fixture
def server(tmp_path: Path, other: str) -> Iterator[ServerProcess]:
    (tmp_path / "application.py").write_text(APPLICATION)
    with running(tmp_path, "--allow-origin", other, target="application:hub", demo=False) as server:
        (tmp_path / "site" / "index.html").write_text(PAGE.replace("SERVER", server.origin))
        yield server


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Callable[[str], BrowserContext]]:
    """A browser that has this session of the application's, or none."""
    contexts = []

    def arrive(session: str) -> BrowserContext:
        contexts.append(browser.new_context())
        if session:
            contexts[-1].add_cookies([{"name": "session", "value": session, "domain": "127.0.0.1", "path": "/"}])
        return contexts[-1]

    yield arrive
    for context in contexts:
        context.close()


def test_the_page_is_entered_with_the_applications_cookie(
    visitor: Callable[[str], BrowserContext], server: ServerProcess
) -> None:
    for session in ("", "of-nobody"):
        page = visitor(session).new_page()
        page.goto(server.origin)
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    zoe = Person(visitor("of-zoe").new_page(), server.origin)
    zoe.expect_entered()
    zoe.page.reload()
    zoe.expect_entered()
    assert [cookie["name"] for cookie in zoe.page.context.cookies()] == ["session"]


def test_a_page_of_another_origin_signs_in_with_the_applications_cookie_where_it_is_listed(
    visitor: Callable[[str], BrowserContext], server: ServerProcess, other: str
) -> None:
    for session, title in (("of-zoe", "Zoë <zoe@example.com> is in"), ("of-nobody", "unauthorized")):
        page = visitor(session).new_page()
        page.goto(other)
        expect(page).to_have_title(title)
