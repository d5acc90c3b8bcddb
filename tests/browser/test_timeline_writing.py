"""Writing in a room: what keys do, what is too long, what a message may hold, and a server that is gone meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from people import RULES
from playwright.sync_api import Browser, expect
from reader import Reader

from servers import ServerProcess, free_port, running

# Each is markup, or an address, that some page has been tricked with.
HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "**<svg onload=\"document.title='owned'\">**",
    "`</code><iframe srcdoc='<script>parent.document.title=1</script>'>`",
    "```\n</pre><script>document.title = 'owned'</script>\n```",
    "javascript:document.title='owned'",
    "https://a.example/\"onmouseover=\"document.title='owned'",
    "> <style>body { display: none }</style>",
    "@<b>percy</b> #<b>general</b> :<b>tada</b>:",
    "[here](javascript:document.title='owned')",
]

Reads = Callable[..., Reader]


@pytest.fixture
def reader(browser: Browser) -> Iterator[Reads]:
    """Seat a reader at the page of a server, in a browser context of their own."""
    with ExitStack() as contexts:

        def arrive(server: ServerProcess, name: str = "percy", *, width: int = 1100) -> Reader:
            context = browser.new_context(viewport={"width": width, "height": 700}, locale="en-GB")
            contexts.callback(context.close)
            return Reader(context.new_page(), server.origin, name)

        yield arrive


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with running(tmp_path, "--engine", "memory://") as server:
        yield server


def test_markup_in_messages_is_text(reader: Reads, server: ServerProcess) -> None:
    alice, percy = reader(server, "alice"), reader(server)
    title = percy.page.title()
    for text in HOSTILE:
        alice.field.fill(text)
        alice.field.press("Enter")
    alice.say("The last of them")
    expect(percy.message("The last of them")).to_be_visible()
    assert percy.log.locator("script, img, iframe, style, b, svg:not(.icon)").count() == 0
    assert percy.log.locator("a:not([href^='https://a.example/']):not([href^='#/room/'])").count() == 0
    assert percy.page.title().endswith(title.removeprefix("(1) "))
    for someone in (alice, percy):
        someone.expect_no_complaints()


def test_keys_of_the_composer(reader: Reads, server: ServerProcess) -> None:
    percy = reader(server)
    keyboard = percy.page.keyboard
    percy.field.press("ArrowUp")
    expect(percy.field).to_be_focused()
    keyboard.type("First line")
    keyboard.press("Shift+Enter")
    keyboard.type("second line")
    keyboard.press("Enter")
    expect(percy.message("First line\nsecond line")).to_have_attribute("data-state", "sent")
    # What was being written is there again when an edit is given up.
    keyboard.press("ArrowUp")
    expect(percy.field).to_have_value("First line\nsecond line")
    keyboard.press("Escape")
    expect(percy.field).to_have_value("")
    keyboard.type("bold")
    keyboard.press("Control+a")
    keyboard.press("Control+b")
    expect(percy.field).to_have_value("**bold**")
    keyboard.press("Enter")
    expect(percy.message("bold").locator("strong")).to_have_text("bold")
    percy.expect_no_complaints()


def test_an_input_method_keeps_its_enter(reader: Reads, server: ServerProcess) -> None:
    percy = reader(server)
    percy.field.fill("unfinished")
    percy.field.evaluate(
        """(field) => field.dispatchEvent(
            new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true, cancelable: true }))"""
    )
    expect(percy.field).to_have_value("unfinished")
    expect(percy.log.locator(".message")).to_have_count(0)


def test_names_and_emoji_are_completed(reader: Reads, server: ServerProcess) -> None:
    alice, percy = reader(server, "alice"), reader(server)
    keyboard = percy.page.keyboard
    percy.field.focus()
    keyboard.type("Hello @al")
    expect(percy.page.get_by_role("option", name="alice")).to_be_visible()
    keyboard.press("Enter")
    keyboard.type(":tad")
    expect(percy.page.get_by_role("option", name=":tada:")).to_have_attribute("aria-selected", "true")
    keyboard.press("Tab")
    expect(percy.field).to_have_value("Hello @alice \N{PARTY POPPER} ")
    keyboard.type("@al")
    expect(percy.page.get_by_role("option", name="alice")).to_be_visible()
    # Escape ends the list and nothing else, and it stays away.
    keyboard.press("Escape")
    keyboard.type("i")
    expect(percy.page.get_by_role("option")).to_have_count(0)
    keyboard.press("Enter")
    expect(alice.message("Hello @alice").locator(".mention.is-me")).to_have_text("@alice")
    # Of a name that is there in full nothing is left to complete.
    keyboard.type("Hey @alice")
    expect(percy.page.get_by_role("option", name="alice")).to_be_visible()
    keyboard.press("Enter")
    expect(percy.message("Hey @alice")).to_have_attribute("data-state", "sent")
    expect(percy.page.get_by_role("option")).to_have_count(0)
    percy.expect_no_complaints()


def test_a_text_that_is_too_long_is_sent_as_several(reader: Reads, server: ServerProcess) -> None:
    percy = reader(server)
    words = [f"word{number}" for number in range(1_000)]
    percy.field.fill(" ".join(words))
    expect(percy.page.get_by_text("too many")).to_be_visible()
    expect(percy.page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    percy.field.press("Enter")
    expect(percy.page.get_by_role("button", name="Send as 2 messages")).to_be_focused()
    percy.page.keyboard.press("Enter")
    expect(percy.log.locator(".message[data-state=sent]")).to_have_count(2)
    said = " ".join(percy.log.locator(".message .text").all_text_contents())
    assert said.split() == words
    expect(percy.field).to_have_value("")
    percy.expect_no_complaints()


def test_what_is_written_while_the_server_is_gone_is_sent_once(reader: Reads, tmp_path: Path) -> None:
    engine = ("--engine", f"sqlite:///{tmp_path}/writing.db", "--port", str(free_port()))
    with ExitStack() as first:
        server = first.enter_context(running(tmp_path, *engine))
        percy = reader(server)
        percy.say("Before")
        server.kill()
    percy.field.fill("Said meanwhile")
    percy.field.press("Enter")
    expect(percy.message("Said meanwhile")).to_have_attribute("data-state", "waiting")
    with running(tmp_path, *engine) as server:
        expect(percy.message("Said meanwhile")).to_have_attribute("data-state", "sent")
        expect(percy.message("Said meanwhile")).to_have_count(1)
        alice = reader(server, "alice")
        expect(alice.message("Said meanwhile")).to_have_count(1)


@pytest.mark.parametrize("width", [1100, 320])
def test_the_conversation_is_accessible(reader: Reads, server: ServerProcess, width: int) -> None:
    percy = reader(server, width=width)
    percy.field.fill("A message with `code`, **bold**, https://a.example/ and @percy\n> and a quote")
    percy.field.press("Enter")
    expect(percy.message("A message")).to_have_attribute("data-state", "sent")
    percy.message("A message").hover()
    assert violations(percy) == []
    percy.page.get_by_role("button", name="Emoji").click()
    assert violations(percy) == []
    percy.page.keyboard.press("Escape")
    expect(percy.page.get_by_role("button", name="Emoji")).to_be_focused()
    wider = percy.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not wider


def violations(someone: Reader) -> list[str]:
    found = Axe().run(someone.page, options={"runOnly": RULES}).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]
