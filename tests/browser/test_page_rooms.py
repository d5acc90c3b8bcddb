"""Rooms and people: what is unread, direct messages, the directory, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable

from people import Person
from playwright.sync_api import expect

Someone = Callable[..., Person]


def test_two_people_talk(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    alice.say("Hello Bob")
    bob.expect_heard("Hello Bob", "alice")
    bob.say("Hello Alice")
    alice.expect_heard("Hello Alice", "bob")
    # The sender's own copy came back as well, and shows once.
    expect(bob.message("Hello Alice")).to_have_count(1)
    alice.expect_no_complaints()
    bob.expect_no_complaints()


def test_rooms_do_not_hear_each_other(someone: Someone) -> None:
    alice, bob, percy = someone(), someone(), someone()
    for person, name in ((alice, "alice"), (bob, "bob"), (percy, "percy")):
        person.enter(name)
    bob.go_to("garden")
    bob.say("Only for the garden")
    alice.say("Only for general")
    # A message kept later than those two, in each room, tells that they would have come by now.
    percy.say("Marker in general")
    alice.expect_heard("Marker in general", "percy")
    alice.expect_not_heard("Only for the garden")
    percy.go_to("garden")
    percy.say("Marker in the garden")
    bob.expect_heard("Marker in the garden", "percy")
    bob.expect_not_heard("Only for general")
    for person in (alice, bob, percy):
        person.expect_no_complaints()


def test_what_is_said_elsewhere_counts_and_mentions_count_apart(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    alice.go_to("garden")
    bob.say("First")
    bob.say("@alice, the second")
    alice.expect_unread("general", ", 2 unread, 1 mention")
    expect(alice.place("general")).to_have_class(re.compile("is-unread"))
    expect(alice.page).to_have_title("(1) garden · Hubbub")
    expect(alice.page.locator("#favicon")).to_have_attribute("href", re.compile("^data:image/png"))
    alice.expect_accessible()
    alice.open("general")
    alice.expect_unread("general", "")
    expect(alice.page).to_have_title("general · Hubbub")
    expect(alice.page.locator("#favicon")).to_have_attribute("href", re.compile("/web/icon.svg$"))
    alice.expect_no_complaints()


def test_what_is_read_in_one_tab_is_read_in_the_other(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    alice.go_to("garden")
    other = someone()
    other.enter("alice")
    other.open("garden")
    bob.enter("bob")
    bob.say("In general")
    for tab in (alice, other):
        tab.expect_unread("general", ", 1 unread")
    alice.open("general")
    other.expect_unread("general", "")


def test_a_direct_message_waits_for_who_is_offline(someone: Someone) -> None:
    alice, bob = someone(), someone()
    bob.enter("bob")
    bob.sign_out()
    alice.enter("alice")
    alice.write_to("bob")
    expect(alice.page.locator("#subtitle")).to_have_text("@bob · offline")
    alice.say("For when you are back")
    bob.enter("bob")
    bob.expect_unread("alice", ", online, 1 unread")
    expect(bob.page).to_have_title(re.compile(r"^\(1\) "))
    expect(alice.page.locator("#subtitle")).to_have_text("@bob · online")
    bob.open("alice")
    bob.expect_heard("For when you are back", "alice")
    bob.say("I am")
    alice.expect_heard("I am", "bob")
    for person in (alice, bob):
        person.expect_no_complaints()


def test_a_first_direct_message_reaches_who_is_online_at_once(someone: Someone) -> None:
    alice, bob = someone(), someone()
    bob.enter("bob")
    alice.enter("alice")
    # By a click on the person, in the list of who is here.
    alice.page.locator("#panel").get_by_role("button", name=re.compile("^bob")).click()
    alice.expect_entered()
    alice.say("Psst")
    bob.expect_unread("alice", ", online, 1 unread")
    alice.say("Are you there?")
    bob.expect_unread("alice", ", online, 2 unread")
    bob.open("alice")
    bob.expect_heard("Psst", "alice")
    for person in (alice, bob):
        person.expect_no_complaints()


def test_who_leaves_is_away(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    panel = alice.page.locator("#panel")
    expect(panel.get_by_role("heading", name="Here, 2")).to_be_visible()
    bob.sign_out()
    expect(panel.get_by_role("heading", name="Here, 1")).to_be_visible()
    expect(panel.get_by_role("heading", name="Away, 1")).to_be_visible()
    expect(panel.get_by_role("button", name=re.compile("^bob.*away"))).to_be_visible()


def test_the_directory_finds_joins_and_makes_rooms(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    for room in ("garden", "garage", "kitchen"):
        alice.go_to(room)
        alice.say(f"This is the {room}")
    bob.enter("bob")
    bob.page.get_by_role("link", name="All rooms").click()
    names = bob.page.locator("#directory .entry b")
    expect(names).to_have_text(["garage", "garden", "kitchen"])
    bob.page.get_by_label("Find or make a room").fill("GAR")
    expect(names).to_have_text(["garage", "garden"])
    expect(bob.page.get_by_role("button", name="Make “GAR”")).to_be_visible()
    bob.expect_accessible()
    bob.page.get_by_role("button", name="Join garden").click()
    bob.expect_in("garden")
    bob.expect_heard("This is the garden", "alice")
    expect(bob.place("garden")).to_have_attribute("aria-current", "page")
    bob.expect_no_complaints()


def test_a_bad_room_name_is_refused_in_words(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.page.get_by_role("link", name="All rooms").click()
    alice.page.get_by_label("Find or make a room").fill("a/b")
    alice.page.keyboard.press("Enter")
    expect(alice.page.get_by_role("alert")).to_contain_text("A room name has 1 to 64")
    alice.expect_no_complaints()


def test_a_link_makes_nobody_join(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    alice.go_to("garden")
    alice.say("Among gardeners")
    bob.enter("bob")
    bob.page.goto(alice.page.url)
    expect(bob.page.get_by_text("You have not joined this room.")).to_be_visible()
    expect(bob.place("garden")).to_have_count(0)
    bob.expect_accessible()
    bob.page.get_by_role("button", name="Join garden").click()
    bob.expect_heard("Among gardeners", "alice")
    bob.expect_no_complaints()


def test_back_and_forward_go_through_rooms(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.go_to("garden")
    alice.go_to("release 1.0")
    expect(alice.page).to_have_url(re.compile(r"#/room/release%201\.0$"))
    alice.page.go_back()
    alice.page.go_back()
    alice.expect_in("garden")
    alice.page.go_forward()
    alice.page.go_forward()
    alice.expect_in("release 1.0")
    alice.expect_no_complaints()


def test_leaving_a_room_is_told_to_the_other_tab(someone: Someone) -> None:
    alice, other = someone(), someone()
    alice.enter("alice")
    other.enter("alice")
    alice.go_to("garden")
    expect(other.place("garden")).to_be_visible()
    other.open("garden")
    alice.page.get_by_role("button", name="More about this room").click()
    alice.expect_accessible()
    alice.page.get_by_role("menuitem", name="Leave room").click()
    alice.expect_in("general")
    expect(alice.place("garden")).to_have_count(0)
    expect(other.place("garden")).to_have_count(0)
    expect(other.page.get_by_role("button", name="Join garden")).to_be_visible()
    for tab in (alice, other):
        tab.expect_no_complaints()


def test_a_muted_room_counts_mentions_alone(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    alice.page.get_by_role("button", name="Mute this room").click()
    expect(alice.page.get_by_role("button", name="Mute this room")).to_have_attribute("aria-pressed", "true")
    alice.go_to("garden")
    bob.say("Chatter")
    alice.expect_unread("general", ", 1 unread, muted")
    expect(alice.place("general").locator(".pill")).to_be_hidden()
    expect(alice.page).to_have_title("garden · Hubbub")
    bob.say("But @alice, this is for you")
    expect(alice.place("general").locator(".pill")).to_have_text("@ 1")
    alice.expect_no_complaints()


def test_jumping_needs_the_keyboard_alone(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    alice.go_to("garden")
    alice.say("A room that bob does not know")
    bob.enter("bob")
    page = bob.page
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.type("gar")
    expect(page.get_by_role("option", name=re.compile("garden"))).to_have_attribute("aria-selected", "true")
    bob.expect_accessible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Join garden")).to_be_focused()
    page.keyboard.press("Enter")
    bob.expect_in("garden")  # which the title says from the question on
    bob.expect_entered()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.type("ali")
    expect(page.get_by_role("combobox")).to_have_value("ali")
    page.get_by_role("option", name="alice").wait_for()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/room/dm:alice,bob"))
    page.keyboard.press("Alt+ArrowDown")
    bob.expect_in("garden")
    page.keyboard.press("Alt+ArrowDown")
    bob.expect_in("general")
    bob.expect_no_complaints()


def test_thirty_rooms_and_long_names_leave_the_rest_reachable(someone: Someone) -> None:
    alice, bob = someone(height=500), someone()
    alice.enter("alice")
    bob.enter("bob")
    long = "a name of sixty-four characters and no fewer than those it takes"
    for room in [f"room {number}" for number in range(1, 31)] + [long, "w" * 64]:
        visit(alice, room)
    expect(alice.page.locator("#rooms li")).to_have_count(33)
    expect(alice.page.locator("#account")).to_be_in_viewport()
    expect(alice.page.locator("#jump")).to_be_in_viewport()
    alice.expect_fits()
    alice.expect_accessible()
    # What is unread beyond the edge of the list is said there.
    alice.open("general")
    visit(bob, "w" * 64)
    bob.say("Down here")
    expect(alice.place("w" * 64)).not_to_be_in_viewport()
    alice.page.get_by_role("button", name="Unread below").click()
    expect(alice.place("w" * 64)).to_be_in_viewport()
    expect(alice.page.get_by_role("button", name="Unread below")).to_be_hidden()
    alice.page.get_by_role("link", name="All people").click()
    expect(alice.page.get_by_label("Find people")).to_be_focused()
    alice.expect_no_complaints()


def visit(person: Person, room: str) -> None:
    """Join a room by its address."""
    person.page.evaluate("(room) => { location.hash = `#/room/${encodeURIComponent(room)}`; }", room)
    person.page.get_by_role("button", name=f"Join {room}", exact=True).click()
    person.expect_in(room)
    person.expect_entered()
