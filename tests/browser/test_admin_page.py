"""The page for admins, against a real server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from people import Person
from playwright.sync_api import Browser, expect

from commands import done, hubbub
from servers import ServerProcess, running

Admin = Callable[..., Person]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose account percy is an admin's."""
    engine = f"sqlite:///{tmp_path}/admin.db"
    with running(tmp_path, "--engine", engine) as server:
        done(hubbub("user", "role", "percy", "admin", "--engine", engine, "--data-dir", str(tmp_path), cwd=tmp_path))
        yield server


@pytest.fixture
def at_page(browser: Browser, served: ServerProcess) -> Iterator[Admin]:
    """Seat somebody at the page for admins, in a browser context of their own."""
    with ExitStack() as contexts:

        def arrive(path: str = "/admin", **options: Any) -> Person:
            context = browser.new_context(**({"viewport": {"width": 1200, "height": 800}} | options))
            contexts.callback(context.close)
            return Person(context.new_page(), served.origin + path)

        yield arrive


def see(person: Person, view: str) -> None:
    """Go to a view."""
    person.page.get_by_role("link", name=view, exact=True).click()
    expect(person.page.get_by_role("heading", name=view, exact=True)).to_be_focused()


def row(person: Person, name: str) -> Any:
    return person.page.get_by_role("row").filter(has=person.page.get_by_role("rowheader", name=name, exact=True))


def test_an_admin_sees_how_the_server_does(at_page: Admin) -> None:
    percy = at_page()
    percy.log_in("percy")
    plots = percy.page.get_by_role("img")
    expect(plots).to_have_count(11)
    # The first sample that has anything to compare with comes within a few seconds.
    expect(percy.page.get_by_label(re.compile("^Connections: now 1, most 1$"))).to_be_visible()
    expect(percy.page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(percy.page.get_by_text("engine: sqlite")).to_be_visible()
    percy.expect_accessible()
    percy.page.reload()
    expect(plots).to_have_count(11)  # without another sign-in
    percy.expect_no_complaints()


def test_an_admin_blocks_a_user_and_lets_it_in_again(at_page: Admin) -> None:
    percy = at_page()
    percy.log_in("percy")
    see(percy, "Users")
    page, alice = percy.page, row(percy, "alice")
    alice.get_by_role("button", name="Block: alice").click()
    page.keyboard.press("Escape")
    expect(alice).to_contain_text("offline")
    alice.get_by_role("button", name="Block: alice").click()
    percy.expect_accessible()
    page.get_by_role("dialog").get_by_role("button", name="Block").click()
    expect(alice).to_contain_text("blocked")
    alice.get_by_role("button", name="Unblock: alice").click()
    expect(alice).to_contain_text("offline")
    alice.get_by_label("Role of alice").select_option("guest")
    expect(page.get_by_role("status").filter(has_text="alice is guest now.")).to_be_visible()
    row(percy, "percy").get_by_role("button", name="Connections: percy").click()
    expect(page.get_by_text("127.0.0.1, v1, session")).to_be_visible()
    row(percy, "percy").get_by_role("button", name="Block: percy").click()
    page.get_by_role("dialog").get_by_role("button", name="Block").click()
    expect(page.get_by_text("percy is the last admin")).to_be_visible()
    see(percy, "Audit")
    expect(page.get_by_role("row").filter(has_text="unblock")).to_contain_text("target alice")
    percy.expect_accessible()
    percy.expect_no_complaints()


def test_an_admin_closes_and_deletes_a_room(at_page: Admin, browser: Browser, served: ServerProcess) -> None:
    percy = at_page()
    percy.log_in("percy")
    percy.page.evaluate(
        """async () => {
            const { Hubbub } = await import("/hubbub.js");
            const chat = new Hubbub("", { storage: "memory" });
            await chat.signIn("alice", "123");
            await chat.join("Lunch");
            await chat.send("Lunch", "soup").done;
            chat.close();
        }"""
    )
    see(percy, "Rooms")
    page, lunch = percy.page, row(percy, "Lunch")
    lunch.get_by_role("button", name="Close: Lunch").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(lunch).to_contain_text("closed")
    percy.expect_accessible()
    lunch.get_by_role("button", name="Reopen: Lunch").click()
    expect(lunch).to_contain_text("open")
    lunch.get_by_role("button", name="Delete: Lunch").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").filter(has_text="Lunch is deleted.")).to_be_visible()
    percy.expect_no_complaints()


def test_who_is_no_admin_sees_nothing(at_page: Admin) -> None:
    alice = at_page("/admin#users")
    alice.log_in("alice")
    expect(alice.page.get_by_text("This account is no admin.")).to_be_visible()
    for view in ("overview", "users", "rooms", "audit"):
        expect(alice.page.locator(f"#{view}")).to_be_hidden()
    expect(alice.page.get_by_role("link", name="Users")).to_be_hidden()
    alice.page.goto(alice.page.url.replace("#users", "#rooms"))
    expect(alice.page.locator("#rooms")).to_be_hidden()
    alice.expect_accessible()
    alice.page.get_by_role("button", name="Sign out").click()
    expect(alice.page.get_by_label("Password")).to_be_visible()
    alice.expect_no_complaints()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_every_view_fits_and_is_accessible(at_page: Admin, scheme: str, width: int) -> None:
    percy = at_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
    percy.expect_accessible()
    percy.log_in("percy")
    expect(percy.page.get_by_role("img")).to_have_count(11)
    for view, shown in (
        ("Users", "alice"),
        ("Rooms", "There is no such room."),
        ("Audit", "login"),
        ("Overview", "Memory"),
    ):
        see(percy, view)
        expect(percy.page.locator(f"#{view.lower()}").get_by_text(shown).first).to_be_visible()
        percy.expect_accessible()
        assert percy.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    percy.expect_no_complaints()
