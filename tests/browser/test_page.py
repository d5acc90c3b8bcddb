"""The page against a real server: people who log in, talk, move about, and outlive a restart."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from people import Person
from playwright.sync_api import expect
from restartable import RestartableServer

from servers import running

Someone = Callable[..., Person]

# Chromium itself prints these, also where the page expects them and puts them into words.
UNAUTHORIZED = ["status of 401"]
SERVER_AWAY = [*UNAUTHORIZED, "status of 503", "net::ERR_", "WebSocket connection to"]


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


def test_a_server_restart_is_survived_without_a_hand(someone: Someone, server: RestartableServer) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    bob.go_to("garden")
    alice.say("Before the restart")
    server.stop()
    for person in (alice, bob):
        expect(person.page.get_by_role("status")).to_have_text("Reconnecting")
    alice.field.fill("Said while it was down")
    alice.page.keyboard.press("Enter")
    expect(alice.message("Said while it was down")).to_have_attribute("data-state", "pending")
    server.start()
    for person in (alice, bob):
        person.expect_entered()
    alice.expect_said("Said while it was down")
    expect(alice.message("Before the restart")).to_have_count(1)
    bob.expect_in("garden")
    bob.go_to("general")
    alice.say("After the restart")
    bob.expect_heard("After the restart", "alice")
    for person in (alice, bob):
        person.expect_no_complaints(but=SERVER_AWAY)


def test_a_reload_stays_logged_in_and_in_the_room(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.go_to("garden")
    alice.page.reload()
    alice.expect_entered()
    alice.expect_in("garden")
    alice.say("Still here")
    alice.expect_no_complaints()


def test_a_session_the_server_forgot_asks_for_the_password(someone: Someone, server: RestartableServer) -> None:
    alice = someone()
    alice.enter("alice")
    alice.say("For those who are logged in")
    server.stop()
    server.forget()
    server.start()
    expect(alice.page.get_by_role("alert")).to_have_text("Your session has ended. Please log in again.")
    assert "For those who are logged in" not in alice.page.content()
    alice.enter("alice")


def test_logging_out_ends_it(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.go_to("secret-room")
    alice.say("Secret words")
    alice.field.fill("Unsent words")
    with alice.page.expect_response("**/logout") as answer:
        alice.page.get_by_role("button", name="Log out").click()
    assert answer.value.status == 204
    expect(alice.page.get_by_role("button", name="Log in")).to_be_visible()
    left = alice.page.content()
    assert not [word for word in ("Secret words", "Unsent words", "secret-room", "alice") if word in left]
    expect(alice.page.locator("#message")).to_have_value("")
    assert alice.page.title() == "Hubbub"
    # Whoever logs in next sees what is theirs.
    alice.enter("bob")
    alice.expect_in("general")
    alice.expect_not_heard("Secret words")
    alice.page.get_by_role("button", name="Log out").click()
    alice.page.reload()
    expect(alice.page.get_by_label("Name")).to_be_focused()
    assert alice.page.evaluate("sessionStorage.length") == 0
    alice.expect_no_complaints()


def test_a_wrong_password_is_answered_in_words(someone: Someone) -> None:
    alice = someone()
    alice.log_in("alice", "wrong")
    expect(alice.page.get_by_role("alert")).to_have_text("Wrong name or password.")
    expect(alice.page.get_by_label("Password")).to_be_focused()
    alice.log_in("alice")
    alice.expect_entered()
    alice.expect_no_complaints(but=UNAUTHORIZED)


def test_an_empty_form_is_not_sent(someone: Someone) -> None:
    alice = someone()
    alice.page.get_by_role("button", name="Log in").click()
    expect(alice.page.get_by_role("alert")).to_have_text("Please enter your name.")
    alice.expect_no_complaints()


def test_the_password_is_not_stored(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    stored = alice.page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])")
    assert '"123"' not in stored
    expect(alice.page.locator("#login-password")).to_have_value("")


def test_markup_in_a_message_is_text(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    alice.say(attack)
    bob.expect_heard(attack, "alice")
    for person in (alice, bob):
        expect(person.page.locator("#messages :is(img, script)")).to_have_count(0)
        expect(person.page).to_have_title("general · Hubbub")
        person.expect_no_complaints()


def test_a_phone_needs_no_sideways_scrolling(someone: Someone) -> None:
    alice = someone(width=360, height=640)
    assert_fits(alice)
    alice.enter("alice")
    alice.say("w" * 300)
    assert_fits(alice)
    toggle = alice.page.get_by_role("button", name="Rooms and people")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    toggle.click()
    expect(toggle).to_have_attribute("aria-expanded", "true")
    assert_fits(alice)
    alice.page.keyboard.press("Escape")
    expect(toggle).to_be_focused()
    toggle.click()
    alice.go_to("garden")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    alice.say("From the drawer")
    assert_fits(alice)
    alice.expect_no_complaints()


def assert_fits(person: Person) -> None:
    wider = person.page.evaluate(
        """() => [...document.querySelectorAll("html, #log, #conversation, #messages, .message")]
            .filter((element) => element.scrollWidth > element.clientWidth)
            .map((element) => `${element.tagName} ${element.id} ${element.scrollWidth} > ${element.clientWidth}`)"""
    )
    assert wider == []


def test_the_keyboard_is_enough(someone: Someone) -> None:
    alice = someone()
    page = alice.page
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type("123")
    page.keyboard.press("Enter")
    expect(alice.field).to_be_focused()
    alice.expect_entered()
    page.keyboard.type("First line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    alice.expect_said("First line\nsecond line")
    expect(alice.field).to_have_value("")
    # Backwards out of the message field: the log, then Log out, then the field for rooms.
    for _ in range(8):
        if page.evaluate("document.activeElement.id") == "room-field":
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.type("garden")
    page.keyboard.press("Enter")
    alice.expect_in("garden")
    expect(alice.field).to_be_focused()
    alice.expect_no_complaints()


def test_a_bad_room_name_is_refused_in_words(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.page.get_by_label("Go to another room").fill("a/b")
    alice.page.keyboard.press("Enter")
    expect(alice.page.get_by_role("alert")).to_contain_text("A room name has 1 to 64")
    alice.expect_in("general")
    alice.expect_no_complaints()


def test_an_overlong_message_is_counted_and_not_sent(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.field.fill("x" * 3990)
    expect(alice.page.get_by_text("10 left")).to_be_visible()
    alice.field.fill("x" * 4003)
    expect(alice.page.get_by_text("3 too many")).to_be_visible()
    expect(alice.page.get_by_role("button", name="Send")).to_be_disabled()
    alice.page.keyboard.press("Enter")
    expect(alice.field).to_have_value("x" * 4003)
    alice.say("x" * 4000)
    expect(alice.page.locator(".message")).to_have_count(1)
    alice.expect_no_complaints()


def test_a_reader_of_old_messages_is_not_scrolled_away(someone: Someone) -> None:
    alice, bob = someone(height=400), someone()
    alice.enter("alice")
    bob.enter("bob")
    for number in range(12):
        bob.say(f"Message {number}")
    alice.expect_heard("Message 11", "bob")
    alice.page.locator("#log").evaluate("(log) => { log.scrollTop = 0; }")
    bob.say("One more")
    button = alice.page.get_by_role("button", name="1 new message")
    expect(button).to_be_visible()
    assert alice.page.locator("#log").evaluate("(log) => log.scrollTop") == 0
    button.click()
    expect(alice.message("One more")).to_be_in_viewport()
    expect(button).to_be_hidden()
    alice.expect_no_complaints()


def test_who_is_here_is_told_rightly_or_not_at_all(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    # Alice came first: without news of bob her list would be wrong.
    for person, other in ((alice, "bob"), (bob, "alice")):
        expect(person.page.locator(f"#people[hidden], #people:has-text('{other}')")).to_have_count(1)
        person.expect_no_complaints()


def test_the_first_account_is_made_by_the_link(someone: Someone, tmp_path: Path) -> None:
    with running(tmp_path, "--engine", f"sqlite:///{tmp_path}/own.db", tls=True, demo=False) as own:
        link = re.search(r"https://\S+#setup=\S+", own.log())
        assert link is not None
        anna, eve = someone(link[0]), someone(link[0])
        anna.page.get_by_label("Name").fill("anna")
        anna.page.get_by_label("Password").fill("pw")
        anna.page.get_by_role("button", name="Make account").click()
        anna.expect_entered()
        assert "setup" not in anna.page.url
        eve.page.get_by_label("Name").fill("eve")
        eve.page.get_by_label("Password").fill("pw")
        eve.page.get_by_role("button", name="Make account").click()
        expect(eve.page.get_by_role("alert")).to_contain_text("this link has been used")
        expect(eve.page.get_by_role("button", name="Log in")).to_be_visible()
        anna.expect_no_complaints()
        # Who comes later is told before anything is typed.
        max_ = someone(link[0])
        expect(max_.page.get_by_role("alert")).to_contain_text("This link has been used")
        expect(max_.page.get_by_role("button", name="Log in")).to_be_visible()
        assert "setup" not in max_.page.url
        max_.expect_no_complaints()


def test_who_is_not_let_in_is_told_why(someone: Someone, tmp_path: Path) -> None:
    with running(tmp_path, "--max-clients", "1", tls=True) as full:
        alice, bob = someone(full.origin), someone(full.origin)
        alice.enter("alice")
        bob.log_in("bob")
        expect(bob.page.locator("#notice")).to_contain_text("this server is full: 1 connections")
        alice.page.get_by_role("button", name="Log out").click()
        bob.expect_entered()
        expect(bob.page.locator("#notice")).to_be_hidden()
        alice.expect_no_complaints()
        bob.expect_no_complaints(but=SERVER_AWAY)
