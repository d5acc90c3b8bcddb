"""What outlives the server, the tab and the browser."""

from __future__ import annotations

import re
from collections.abc import Callable

from people import Person
from playwright.sync_api import Browser, expect
from restartable import RestartableServer

Someone = Callable[..., Person]

# Chromium itself prints these, also where the page expects them and puts them into words.
SERVER_AWAY = ["status of 401", "status of 503", "net::ERR_", "WebSocket connection to"]


def test_a_server_restart_is_survived_without_a_hand(someone: Someone, server: RestartableServer) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    bob.go_to("garden")
    alice.say("Before the restart")
    server.stop()
    for person in (alice, bob):
        expect(person.page.get_by_role("status").first).to_have_text(re.compile("Reconnecting|Connecting"))
    alice.field.fill("Said while it was down")
    alice.page.keyboard.press("Enter")
    expect(alice.message("Said while it was down")).to_have_attribute("data-state", re.compile("waiting|sending"))
    alice.expect_accessible()
    server.start()
    for person in (alice, bob):
        person.expect_entered()
    alice.expect_said("Said while it was down")
    expect(alice.message("Before the restart")).to_have_count(1)
    bob.expect_in("garden")
    bob.open("general")
    alice.say("After the restart")
    bob.expect_heard("After the restart", "alice")
    for person in (alice, bob):
        person.expect_no_complaints(but=SERVER_AWAY)


def test_what_was_not_sent_outlives_a_reload(someone: Someone, server: RestartableServer) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    server.stop()
    alice.field.fill("Written in the dark")
    alice.page.keyboard.press("Enter")
    expect(alice.message("Written in the dark")).to_have_count(1)
    # The page itself comes from the server, so it can only be loaded again once that is back.
    server.start()
    alice.page.reload()
    alice.expect_entered()
    alice.expect_said("Written in the dark")
    bob.expect_heard("Written in the dark", "alice")
    expect(alice.message("Written in the dark")).to_have_count(1)


def test_a_reload_in_the_middle_of_sending_sends_once(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    for number in range(20):
        alice.field.fill(f"Message {number}")
        alice.page.keyboard.press("Enter")
    alice.page.reload()
    alice.expect_entered()
    for number in range(20):
        bob.expect_heard(f"Message {number}", "alice")
        alice.expect_said(f"Message {number}")


def test_drafts_and_the_last_room_outlive_the_tab(someone: Someone, server: RestartableServer) -> None:
    alice = someone()
    alice.enter("alice")
    alice.field.fill("Half a sentence for general")
    alice.go_to("garden")
    expect(alice.field).to_have_value("")
    alice.field.fill("Half of another")
    context = alice.page.context
    alice.page.close()
    again = Person(context.new_page(), server.url)
    again.expect_in("garden")
    expect(again.field).to_have_value("Half of another")
    again.open("general")
    expect(again.field).to_have_value("Half a sentence for general")
    again.expect_no_complaints()


def test_one_tab_of_several_notifies(browser: Browser, server: RestartableServer, someone: Someone) -> None:
    context = browser.new_context(ignore_https_errors=True, permissions=["notifications"])
    context.add_init_script(
        """window.told = [];
        window.Notification = class extends EventTarget {
            static permission = "granted";
            constructor(title, options) { super(); window.told.push([title, options.body]); }
            close() {}
        };
        document.hasFocus = () => false;"""
    )
    try:
        tabs = [Person(context.new_page(), server.url)]
        tabs[0].enter("alice")
        tabs.append(Person(context.new_page(), server.url))
        tabs[1].expect_entered()
        bob = someone()
        bob.enter("bob")
        bob.say("Nothing for anybody")
        bob.say("@alice, look")
        for tab in tabs:
            tab.expect_unread("general", ", 2 unread, 1 mention")
        tabs[0].page.wait_for_function("window.told.length > 0")
        assert tabs[0].page.evaluate("window.told") == [["bob in general", "@alice, look"]]
        assert tabs[1].page.evaluate("window.told") == []
    finally:
        context.close()


def test_notifications_are_offered_with_the_first_that_would_have_been(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.page.evaluate("() => { Object.defineProperty(Notification, 'permission', { value: 'default' }); }")
    alice.enter("alice")
    bob.enter("bob")
    bob.say("Good morning")
    alice.expect_heard("Good morning", "bob")
    offer = alice.page.get_by_role("button", name="Notify me")
    expect(offer).to_be_hidden()
    bob.say("@alice, good morning")
    expect(offer).to_be_visible()
    alice.expect_accessible()
    alice.page.get_by_role("button", name="Close this notice").click()
    expect(offer).to_be_hidden()
    alice.expect_no_complaints()
