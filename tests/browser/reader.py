"""Someone who reads a room: what is in sight, and whether it stays there."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

__all__ = ["Reader"]

# Watches the list in every frame: which messages were in sight, and that they were so in order, each once.
WATCH = """
() => {
  const log = document.querySelector(".log");
  const watch = { seen: new Set(), wrong: [], mostRows: 0, mostElements: 0, drift: 0, held: null };
  window.watch = watch;
  watch.look = () => {
    const { top, bottom } = log.getBoundingClientRect();
    const rows = [...log.querySelectorAll(".log-row")];
    const seqs = rows.map((row) => Number(row.dataset.seq));
    watch.mostRows = Math.max(watch.mostRows, rows.length);
    seqs.forEach((seq, index) => {
      if (index > 0 && seq !== seqs[index - 1] + 1) watch.wrong.push(`${seqs[index - 1]} then ${seq}`);
    });
    let first = 0;
    let last = 0;
    rows.forEach((row, index) => {
      const place = row.getBoundingClientRect();
      if (place.bottom <= top || place.top >= bottom) return;
      watch.seen.add(seqs[index]);
      first ||= seqs[index];
      last = seqs[index];
    });
    const edges = rows.length > 0 && [rows[0].getBoundingClientRect().top, rows.at(-1).getBoundingClientRect().bottom];
    const isCovered = edges && (edges[0] <= top || seqs[0] === 1);
    return { first, last, isCovered: Boolean(isCovered && (edges[1] >= bottom || seqs.at(-1) === watch.newest)) };
  };
  watch.frame = () => {
    watch.look();
    if (watch.held) {
      const moved = watch.held.isConnected ? Math.abs(watch.held.getBoundingClientRect().top - watch.at) : Infinity;
      watch.drift = Math.max(watch.drift, moved);
    }
    requestAnimationFrame(watch.frame);
  };
  watch.frame();
}
"""
# Resolves in a frame in which all that can be seen is drawn.
SETTLED = """
async () => {
  for (;;) {
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const sight = window.watch.look();
    if (sight.isCovered) return sight;
  }
}
"""


class Reader:
    """Someone at the page.

    Attributes:
        page: their tab.
        complaints: the errors and warnings of its console so far.
    """

    def __init__(self, page: Page, url: str, name: str, *, room: str = "general", password: str = "123") -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.goto(f"{url}/#/room/{room}")
        page.locator("[name=username]").fill(name)
        page.locator("[name=password]").fill(password)
        page.keyboard.press("Enter")
        self.expect_entered()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def expect_entered(self) -> None:
        join = self.page.get_by_role("button", name=re.compile("^Join "))
        expect(self.log.or_(join)).to_be_visible()
        if join.is_visible():
            join.click()
        expect(self.log).to_have_attribute("aria-busy", "false")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    @property
    def field(self) -> Locator:
        """Where a message is written."""
        return self.page.get_by_role("combobox", name=re.compile("^Message")).or_(
            self.page.get_by_role("textbox", name=re.compile("^Message"))
        )

    def message(self, text: str) -> Locator:
        """The messages that have this text."""
        return self.log.locator(".message").filter(has_text=text)

    def say(self, text: str) -> None:
        """Say something and wait until the server has kept it."""
        self.field.fill(text)
        self.field.press("Enter")
        expect(self.message(text).last).to_have_attribute("data-state", "sent")

    def act(self, text: str, name: str) -> None:
        """Press a button of the bar of a message."""
        self.message(text).hover()
        self.message(text).get_by_role("button", name=name, exact=True).click()

    # Watching

    def watch(self, newest: int) -> None:
        """Look at the list in every frame from now on; `newest` is the seq that it ends with."""
        self.page.evaluate(WATCH)
        self.page.evaluate("(newest) => { window.watch.newest = newest; }", newest)

    def watched(self, what: str) -> Any:
        return self.page.evaluate(f"() => {what.replace('watch.', 'window.watch.')}")

    def settled(self) -> dict[str, Any]:
        """Wait until all that can be seen is drawn; the first and last seq in sight."""
        sight: dict[str, Any] = self.page.evaluate(SETTLED)
        return sight

    def wheel_to(self, seq: int, step: int) -> None:
        """Turn the wheel, so many pixels at a time, until a message is in sight."""
        box = self.log.bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + 20, box["y"] + box["height"] / 2)
        sight = self.settled()
        while not sight["first"] <= seq <= sight["last"]:
            self.page.mouse.wheel(0, step if seq > sight["last"] else -step)
            sight = self.settled()

    def hold(self, text: str) -> None:
        """Watch how far a message moves on the screen from now on."""
        self.message(text).evaluate(
            "(held) => Object.assign(window.watch, { held, at: held.getBoundingClientRect().top, drift: 0 })"
        )

    def expect_no_complaints(self, *, but: tuple[str, ...] = ()) -> None:
        """Neither errors nor warnings, violations of the CSP among them, `but` those with one of these texts."""
        assert [each for each in self.complaints if not any(text in each for text in ("status of 401", *but))] == []
