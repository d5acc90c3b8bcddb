"""A person at the page, in the words the tests are written in."""

from __future__ import annotations

from collections.abc import Sequence

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

__all__ = ["Person"]


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

    def log_in(self, name: str, password: str = "123") -> None:
        """Fill in the form and send it."""
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def enter(self, name: str) -> None:
        """Log in and wait until the room is entered: from here on, nothing said is missed."""
        self.log_in(name)
        self.expect_entered()

    def say(self, text: str) -> None:
        """Say something and wait until the server has kept it."""
        self.field.fill(text)
        self.page.keyboard.press("Enter")
        self.expect_said(text)

    def go_to(self, room: str) -> None:
        """Change the room and wait until it is entered."""
        self.page.get_by_label("Go to another room").fill(room)
        self.page.keyboard.press("Enter")
        self.expect_in(room)
        self.expect_entered()

    @property
    def field(self) -> Locator:
        """Where a message is written."""
        return self.page.get_by_label("Message", exact=True)

    def message(self, text: str) -> Locator:
        """The messages of exactly this text."""
        return self.page.locator(".message").filter(has=self.page.get_by_text(text, exact=True))

    def expect_entered(self) -> None:
        expect(self.page.get_by_role("status")).to_have_text("Online")
        expect(self.page.get_by_role("log")).to_have_attribute("aria-busy", "false")

    def expect_in(self, room: str) -> None:
        expect(self.page.get_by_role("heading", level=1, name=room)).to_be_visible()

    def expect_said(self, text: str) -> None:
        expect(self.message(text)).to_have_attribute("data-state", "kept")

    def expect_heard(self, text: str, author: str) -> None:
        expect(self.message(text)).to_have_count(1)
        expect(self.message(text).locator(".author")).to_have_text(author)

    def expect_not_heard(self, text: str) -> None:
        """Only means something after a later message has been heard."""
        expect(self.message(text)).to_have_count(0)

    def expect_no_complaints(self, *, but: Sequence[str] = ()) -> None:
        """Neither errors nor warnings, violations of the CSP among them, `but` those with one of these texts."""
        assert [complaint for complaint in self.complaints if not any(text in complaint for text in but)] == []
