"""Take the README's picture of the page: `python tests/browser/screenshot.py docs/screenshot.png`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

# Run as a script, only this file's own folder is searched.
sys.path.append(str(Path(__file__).parent.parent))

from people import Person
from playwright.sync_api import Browser, sync_playwright

from chromium import CHROMIUM, CHROMIUM_ARGS
from servers import running

TALK = [
    ("bob", "Good morning! The new server is up: one process, one port, and both old pages talk to it unchanged."),
    ("bob", "I restarted it twice already, just to see."),
    ("percy", "Did anyone notice?"),
    ("bob", "Nobody had to reload, or to log in again."),
    ("alice", "My tab said \u201cReconnecting\u201d for a second, and that was all."),
    ("percy", "Lovely. Then let's open the doors: I'll tell the others at ten."),
    ("percy", "And there is cake in the garden at four \U0001f370"),
    ("alice", "Now that is a release plan."),
]


def take(picture: Path) -> None:
    """Let three people talk, and take the picture over one's shoulder."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), tls=True) as server, sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        people = {name: arrive(browser, server.origin, name) for name in ("percy", "alice", "bob")}
        percy = people["percy"]
        for room in ("garden", "release 1.0", "reading club"):
            percy.go_to(room)
        percy.page.get_by_role("button", name="general").click()
        percy.expect_entered()
        for name, text in TALK:
            people[name].say(text)
        percy.expect_heard(TALK[-1][1], TALK[-1][0])
        percy.page.screenshot(path=picture)
        browser.close()


def arrive(browser: Browser, url: str, name: str) -> Person:
    context = browser.new_context(
        ignore_https_errors=True, viewport={"width": 1200, "height": 750}, locale="en-GB", reduced_motion="reduce"
    )
    person = Person(context.new_page(), url)
    person.enter(name)
    return person


if __name__ == "__main__":
    take(Path(sys.argv[1]))
