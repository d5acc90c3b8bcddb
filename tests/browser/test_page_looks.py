"""What the page looks like: narrow and wide, light and dark, by keyboard and by screen reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from people import Person
from playwright.sync_api import Browser, expect
from restartable import RestartableServer

Someone = Callable[..., Person]


@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_needs_no_sideways_scrolling(someone: Someone, width: int) -> None:
    alice = someone(width=width, height=640)
    alice.expect_fits()
    alice.enter("alice")
    alice.say("w" * 300)
    alice.expect_fits()
    drawer = alice.page.get_by_role("button", name="Rooms and people")
    expect(drawer).to_have_attribute("aria-expanded", "false")
    drawer.click()
    expect(drawer).to_have_attribute("aria-expanded", "true")
    alice.expect_fits()
    alice.page.keyboard.press("Escape")
    expect(drawer).to_be_focused()
    drawer.click()
    alice.go_to("garden")
    expect(drawer).to_have_attribute("aria-expanded", "false")
    alice.say("From the drawer")
    alice.expect_fits()
    alice.page.locator("#members-toggle").click()
    alice.expect_fits()
    alice.expect_no_complaints()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_every_view_is_accessible(
    browser: Browser, server: RestartableServer, scheme: Literal["light", "dark"], width: int
) -> None:
    context = browser.new_context(
        ignore_https_errors=True, viewport={"width": width, "height": 720}, color_scheme=scheme, reduced_motion="reduce"
    )
    alice = Person(context.new_page(), server.url)
    page = alice.page
    try:
        alice.expect_accessible()
        alice.enter("alice")
        alice.say("Words in a room")
        alice.expect_accessible()
        page.keyboard.press("Escape")
        for address in ("#/directory", "#/directory/people", "#/room/nobody-joined-this"):
            page.evaluate("(address) => { location.hash = address; }", address)
            expect(page.locator("#main .view:visible button:visible").first).to_be_visible()
            alice.expect_accessible()
        page.evaluate("() => document.getElementById('account').click()")
        expect(page.get_by_role("heading", name="Settings")).to_be_visible()
        alice.expect_accessible()
        alice.expect_fits()
        page.get_by_role("button", name="Keyboard shortcuts").click()
        alice.expect_accessible()
        alice.expect_no_complaints()
    finally:
        context.close()


def test_a_page_that_was_narrow_for_a_while_has_its_panel_again(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    panel = alice.page.get_by_role("complementary", name="People in this room")
    expect(panel).to_be_visible()
    alice.page.set_viewport_size({"width": 600, "height": 750})
    expect(panel).to_be_hidden()
    alice.page.set_viewport_size({"width": 1200, "height": 750})
    expect(panel).to_be_visible()


def test_the_theme_is_the_readers(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.open_settings()
    alice.page.get_by_label("Dark").check()
    scheme = "getComputedStyle(document.documentElement).colorScheme"
    assert alice.page.evaluate(scheme) == "dark"
    other = Person(alice.page.context.new_page(), alice.page.url)
    other.expect_entered()
    assert other.page.evaluate(scheme) == "dark"
    alice.page.get_by_label("Light").check()
    expect(other.page.locator("html")).to_have_attribute("data-theme", "light")
    alice.page.reload()
    alice.expect_entered()
    assert alice.page.evaluate(scheme) == "light"


def test_the_keyboard_is_enough(someone: Someone) -> None:
    alice = someone()
    page = alice.page
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type("123")
    page.keyboard.press("Enter")
    alice.expect_entered()
    expect(alice.field).to_be_focused()
    page.keyboard.type("First line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("second line")
    expect(alice.field).to_have_value("")
    alice.expect_no_complaints()


def test_single_keys_can_be_turned_off(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    page = alice.page
    page.locator("#account").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#account")).to_be_focused()
    alice.open_settings()
    page.get_by_label("Shortcuts of a single key").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    # In a field it is text.
    alice.field.fill("")
    page.keyboard.type("?")
    expect(alice.field).to_have_value("?")
    alice.expect_no_complaints()


def test_names_and_passwords_are_changed_in_the_settings(someone: Someone) -> None:
    alice, bob = someone(), someone()
    alice.enter("alice")
    bob.enter("bob")
    alice.open_settings()
    alice.page.get_by_label("Display name").fill("Alice Moreau")
    alice.page.get_by_role("button", name="Change name").click()
    expect(alice.page.locator("#account-name")).to_have_text("Alice Moreau")
    expect(bob.page.locator("#panel").get_by_role("button", name="Alice Moreau")).to_be_visible()
    page = alice.page
    page.get_by_label("Present password").fill("wrong")
    page.get_by_label("New password, of 8 characters or more").fill("better 456")
    page.get_by_label("The new password again").fill("better 456")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("The present password is another one.")).to_be_visible()
    page.get_by_label("Present password").fill("123")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("Your other sessions have ended.")).to_be_visible()
    page.keyboard.press("Escape")
    alice.say("Still signed in")
    alice.sign_out()
    alice.log_in("alice", "better 456")
    alice.expect_entered()
    alice.expect_no_complaints(but=["status of 403"])
