"""A person at the page, in the words the tests are written in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

__all__ = ["Person"]

# What WCAG 2.2 AA asks, as far as a program can tell.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


class Person:
    """Someone at the page.

    Attributes:
        page: their tab.
        complaints: the errors and warnings of its console so far.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.goto(url)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    # Getting in

    def log_in(self, name: str, password: str = "123") -> None:
        """Fill in the form and send it."""
        self.page.get_by_label("Name", exact=True).fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def enter(self, name: str) -> None:
        """Sign in and wait until the room is entered: from here on, nothing said is missed."""
        self.log_in(name)
        self.expect_entered()

    def sign_out(self) -> None:
        """Sign out, from the settings."""
        self.open_settings()
        self.page.get_by_role("button", name="Sign out").click()
        expect(self.page.get_by_role("button", name="Sign in")).to_be_visible()

    # Going about

    def open_settings(self) -> None:
        """Open the settings; the list of rooms is in sight."""
        self.page.locator("#account").click()
        expect(self.page.get_by_role("heading", name="Settings")).to_be_visible()

    def place(self, name: str) -> Locator:
        """The entry of a room or a person in the list."""
        return self.page.locator("#sidebar .places a").filter(has=self.page.get_by_text(name, exact=True))

    def go_to(self, room: str) -> None:
        """Join a room by the directory, made where it is not there, and wait until it is entered."""
        self.page.get_by_role("link", name="All rooms").click()
        self.page.get_by_label("Find or make a room").fill(room)
        self.page.keyboard.press("Enter")
        self.expect_in(room)
        self.expect_entered()

    def write_to(self, user: str) -> None:
        """Open the direct messages with a user, by the directory of people."""
        self.page.get_by_role("link", name="All people").click()
        self.page.locator(f'#directory [data-user="{user}"]').get_by_role("button").click()
        expect(self.page).to_have_url(re.compile("#/room/dm:"))
        self.expect_entered()

    def open(self, name: str) -> None:
        """Open a room of the list, and wait until it is entered."""
        self.place(name).click()
        self.expect_in(name)
        self.expect_entered()

    # Messages

    def say(self, text: str) -> None:
        """Say something and wait until the server has kept it."""
        self.field.fill(text)
        self.page.keyboard.press("Enter")
        self.expect_said(text)

    @property
    def field(self) -> Locator:
        """Where a message is written."""
        return self.page.get_by_role("textbox", name=re.compile("^Message"))

    def message(self, text: str) -> Locator:
        """The messages of exactly this text."""
        return self.page.get_by_role("log").locator(".message").filter(has=self.page.get_by_text(text, exact=True))

    # What is to be seen

    def expect_entered(self) -> None:
        expect(self.page.locator("#status")).to_be_hidden()
        expect(self.page.get_by_role("log")).to_have_attribute("aria-busy", "false")

    def expect_in(self, room: str) -> None:
        expect(self.page.locator("#title-words")).to_have_text(room)

    def expect_said(self, text: str) -> None:
        expect(self.message(text)).to_have_attribute("data-state", "sent")

    def expect_heard(self, text: str, author: str) -> None:
        expect(self.message(text)).to_have_count(1)
        # Of several in a row only the first shows whose they are, and each says it.
        expect(self.message(text)).to_have_attribute("aria-label", re.compile(f"^{re.escape(author)}, "))

    def expect_not_heard(self, text: str) -> None:
        """Only means something after a later message has been heard."""
        expect(self.message(text)).to_have_count(0)

    def expect_unread(self, name: str, words: str) -> None:
        """The entry of a room says so much, as in ", 2 unread, 1 mention"; empty for nothing."""
        expect(self.place(name).locator(".visually-hidden")).to_have_text(words)

    def expect_no_complaints(self, *, but: Sequence[str] = ()) -> None:
        """Neither errors nor warnings, violations of the CSP among them, `but` those with one of these texts."""
        assert [complaint for complaint in self.complaints if not any(text in complaint for text in but)] == []

    def expect_accessible(self) -> None:
        """Nothing that axe finds, in what is shown now."""
        results = Axe().run(self.page, options={"runOnly": RULES})
        assert results.violations_count == 0, results.generate_report()

    def expect_fits(self) -> None:
        """Nothing to scroll sideways for, and no part of the page itself below the window's edge."""
        assert self.page.evaluate("() => document.documentElement.scrollHeight - innerHeight") <= 0
        wider = self.page.evaluate(
            """() => [...document.querySelectorAll("html, body, #main, #main *, #sidebar, #sidebar *, dialog")]
                .filter((element) => element.scrollWidth > element.clientWidth + 1)
                .filter((element) => !["visible", "hidden", "clip"].includes(getComputedStyle(element).overflowX)
                    || ["HTML", "BODY", "MAIN", "DIALOG"].includes(element.tagName))
                .filter((element) => element.tagName !== "PRE" && element.clientWidth > 0)
                .map((element) => `${element.tagName} ${element.id} ${element.scrollWidth} > ${element.clientWidth}`)"""
        )
        assert wider == []
