"""The list of a room's messages: its whole past, and what others do while it is read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ViewportSize, expect
from reader import Reader
from seeding import numbered, seed

from servers import ServerProcess, running

# 50,000 take many minutes on a machine that draws without a graphics card; they are tried by hand.
PAST = int(os.environ.get("HUBBUB_TIMELINE_PAST", "3000"))
# A high screen, of few pixels: fewer turns of the wheel for the same way.
HEIGHT = 4_000
STEP = 3_000
MOST_ROWS = 500

Reads = Callable[..., Reader]


@pytest.fixture
def past() -> int:
    """How many messages the room has when the server starts."""
    return 400


@pytest.fixture
def server(tmp_path: Path, past: int) -> Iterator[ServerProcess]:
    database = tmp_path / "timeline.db"
    if past:
        seed(database, "general", [("alice" if seq % 5 else "bob", numbered(seq)) for seq in range(1, past + 1)])
    with running(tmp_path, "--engine", f"sqlite:///{database}" if past else "memory://") as server:
        yield server


@pytest.fixture
def reader(browser: Browser, server: ServerProcess) -> Iterator[Reads]:
    """Seat a reader at the page, in a browser context of their own."""
    with ExitStack() as contexts:

        def arrive(name: str = "percy", *, height: int = 700, path: str = "general", has_touch: bool = False) -> Reader:
            scale = 0.5 if height == HEIGHT else 1
            viewport: ViewportSize = {"width": 1100, "height": height}
            context = browser.new_context(
                viewport=viewport, device_scale_factor=scale, locale="en-GB", has_touch=has_touch, is_mobile=has_touch
            )
            contexts.callback(context.close)
            return Reader(context.new_page(), server.origin, name, room=path)

        yield arrive


@pytest.mark.parametrize("past", [PAST])
def test_a_long_past_is_scrolled_end_to_end_both_ways(reader: Reads, past: int) -> None:
    percy = reader(height=HEIGHT)
    expect(percy.message(f"Message {past}.")).to_be_in_viewport()
    percy.watch(newest=past)
    percy.wheel_to(1, STEP)
    assert percy.watched("watch.seen.size") == past
    percy.page.evaluate("() => window.watch.seen.clear()")
    percy.wheel_to(past, STEP)
    assert percy.watched("watch.seen.size") == past
    assert percy.watched("watch.wrong") == []
    assert percy.watched("watch.mostRows") <= MOST_ROWS
    percy.expect_no_complaints()


def test_what_is_read_stays_where_it_is_while_others_write(reader: Reads, past: int) -> None:
    percy, alice = reader(), reader("alice")
    percy.watch(newest=past)
    percy.wheel_to(past - 60, 400)
    text = f"Message {percy.settled()['first'] + 3}."
    percy.hold(text)
    for number in range(12):
        alice.say(f"Said meanwhile {number}")
    expect(percy.page.get_by_role("button", name="12 new messages")).to_be_visible()
    assert percy.watched("watch.drift") <= 1
    percy.page.get_by_role("button", name="12 new messages").click()
    expect(percy.message("Said meanwhile 11")).to_be_in_viewport()
    expect(percy.page.get_by_role("button", name="12 new messages")).to_be_hidden()
    percy.expect_no_complaints()


def test_sending_leaves_the_rows_that_there_are_as_they_are(reader: Reads, past: int) -> None:
    percy = reader()
    expect(percy.message(f"Message {past}.")).to_be_in_viewport()
    percy.say("The first one")
    percy.page.evaluate("() => { window.before = [...document.querySelectorAll('.log .message')]; }")
    percy.say("The second one")
    expect(percy.message("The second one")).to_be_in_viewport()
    assert percy.page.evaluate("() => window.before.filter((each) => !each.isConnected).length") == 0


def test_the_day_is_told_once(reader: Reads) -> None:
    percy = reader()
    percy.watch(newest=400)
    percy.wheel_to(200, 400)
    floating = percy.page.locator(".day-now")
    expect(floating).to_be_visible()
    percy.wheel_to(1, 3_000)
    expect(percy.page.locator(".day").first).to_be_in_viewport()
    expect(floating).to_be_hidden()


def test_a_link_leads_to_its_message(reader: Reads) -> None:
    percy = reader(path="general/120")
    expect(percy.message("Message 120.")).to_be_in_viewport()
    expect(percy.message("Message 120.")).to_be_focused()
    percy.page.get_by_role("button", name="Newest messages").click()
    expect(percy.message("Message 400.")).to_be_in_viewport()
    percy.expect_no_complaints()


def test_a_link_to_what_is_not_there_says_so(reader: Reads, past: int) -> None:
    percy = reader(path="general/99999")
    expect(percy.page.get_by_text("The message of this link is not here.")).to_be_visible()
    expect(percy.message(f"Message {past}.")).to_be_in_viewport()


def test_a_date_leads_to_its_first_message(reader: Reads) -> None:
    percy = reader(path="general/300")
    percy.page.get_by_role("button", name=re.compile("^(Today|Yesterday)$")).first.click()
    percy.page.get_by_role("button", name="The very beginning").click()
    expect(percy.message("Message 1.")).to_be_in_viewport()
    percy.expect_no_complaints()


@pytest.mark.parametrize("past", [0])
def test_an_edit_a_reaction_and_a_deletion_are_seen_by_others(reader: Reads) -> None:
    alice, percy = reader("alice"), reader()
    alice.say("The doors open at nien")
    expect(percy.message("nien")).to_be_visible()
    alice.field.press("ArrowUp")
    expect(alice.field).to_have_value("The doors open at nien")
    alice.field.fill("The doors open at nine")
    alice.field.press("Enter")
    expect(percy.message("at nine").get_by_text("edited")).to_be_visible()
    expect(percy.message("nien")).to_have_count(0)
    percy.act("at nine", "React")
    percy.page.get_by_role("textbox", name="Find an emoji by name").fill("tada")
    percy.page.keyboard.press("Enter")
    chip = alice.message("at nine").get_by_role("button", name="percy reacted with tada")
    expect(chip).to_have_text("\N{PARTY POPPER} 1")
    chip.click()
    expect(percy.message("at nine").locator(".reaction")).to_have_text("\N{PARTY POPPER} 2")
    alice.message("at nine").locator(".reaction").click()
    expect(percy.message("at nine").locator(".reaction")).to_have_text("\N{PARTY POPPER} 1")
    alice.act("at nine", "More")
    alice.page.get_by_role("menuitem", name="Delete…").click()
    alice.page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(percy.message("This message was deleted.")).to_be_visible()
    expect(percy.message("at nine")).to_have_count(0)
    # It is no message that could be edited any more.
    percy.page.reload()
    percy.expect_entered()
    expect(percy.message("This message was deleted.")).to_be_visible()
    for someone in (alice, percy):
        someone.expect_no_complaints()


def test_the_keyboard_goes_through_messages_and_acts_on_them(reader: Reads) -> None:
    percy = reader()
    percy.say("First of mine")
    percy.say("Second of mine")
    percy.log.focus()
    percy.page.keyboard.press("ArrowUp")
    expect(percy.message("Second of mine")).to_be_focused()
    percy.page.keyboard.press("ArrowUp")
    expect(percy.message("First of mine")).to_be_focused()
    percy.page.keyboard.press("Enter")
    expect(percy.page.get_by_role("button", name="React")).to_be_focused()
    percy.page.keyboard.press("ArrowRight")
    expect(percy.page.get_by_role("button", name="Reply")).to_be_focused()
    percy.page.keyboard.press("Enter")
    expect(percy.field).to_be_focused()
    expect(percy.field).to_have_value("> First of mine\n@percy ")
    percy.expect_no_complaints()


def test_a_tap_shows_what_can_be_done_and_another_one_hides_it(reader: Reads, past: int) -> None:
    percy = reader(has_touch=True)
    first, second = percy.message(f"Message {past}."), percy.message(f"Message {past - 1}.")
    bar = percy.page.get_by_role("toolbar", name="What can be done with this message")
    first.tap()
    expect(first.get_by_role("toolbar")).to_be_visible()
    second.tap()
    expect(second.get_by_role("toolbar")).to_be_visible()
    expect(bar).to_have_count(1)
    second.tap()
    expect(bar).to_have_count(0)


def test_a_new_message_is_told_politely(reader: Reads) -> None:
    percy, alice = reader(), reader("alice")
    alice.say("Read this out")
    expect(percy.page.get_by_role("status").filter(has_text="alice: Read this out")).to_have_count(1)
    expect(percy.log).to_have_attribute("aria-live", "off")
    percy.expect_no_complaints()


def test_what_was_said_is_found_and_gone_to(reader: Reads) -> None:
    percy = reader()
    percy.page.get_by_role("button", name="Search", exact=True).click()
    percy.page.get_by_role("searchbox").fill("message 77")
    result = percy.page.get_by_role("list").get_by_role("button", name=re.compile("Message 77"))
    result.first.click()
    expect(percy.message("Message 77.")).to_be_in_viewport()
    percy.expect_no_complaints()
