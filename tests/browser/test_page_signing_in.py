"""Getting in and out: accounts, sessions, invitations, and what is said to who is not let in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from people import Person
from playwright.sync_api import Browser, expect
from restartable import RestartableServer

from servers import running

Someone = Callable[..., Person]

# Chromium itself prints these, also where the page expects them and puts them into words.
UNAUTHORIZED = ["status of 401"]
SERVER_AWAY = [*UNAUTHORIZED, "status of 503", "net::ERR_", "WebSocket connection to"]


def test_a_wrong_password_is_answered_in_words(someone: Someone) -> None:
    alice = someone()
    alice.log_in("alice", "wrong")
    expect(alice.page.get_by_role("alert")).to_have_text("Wrong name or password.")
    expect(alice.page.get_by_label("Password", exact=True)).to_be_focused()
    alice.expect_accessible()
    alice.log_in("alice")
    alice.expect_entered()
    alice.expect_no_complaints(but=UNAUTHORIZED)


def test_an_empty_form_is_not_sent(someone: Someone) -> None:
    alice = someone()
    alice.page.get_by_role("button", name="Sign in").click()
    expect(alice.page.get_by_role("alert")).to_have_text("Please enter your name.")
    alice.expect_no_complaints()


def test_no_script_can_read_the_password_or_the_token(someone: Someone) -> None:
    alice = someone()
    with alice.page.expect_response("**/login") as answer:
        alice.log_in("alice")
    alice.expect_entered()
    assert "token" not in answer.value.json()
    stored = alice.page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])")
    assert '"123"' not in stored
    assert alice.page.evaluate("document.cookie") == ""
    expect(alice.page.locator("#signin-password")).to_have_value("")


def test_a_reload_and_another_tab_stay_signed_in(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.go_to("garden")
    alice.page.reload()
    alice.expect_entered()
    alice.expect_in("garden")
    alice.say("Still here")
    other = Person(alice.page.context.new_page(), alice.page.url)
    other.expect_in("garden")
    other.expect_heard("Still here", "alice")
    alice.expect_no_complaints()
    other.expect_no_complaints()


def test_a_session_that_is_not_kept_ends_with_its_last_tab(someone: Someone) -> None:
    alice = someone()
    context, url = alice.page.context, alice.page.url
    alice.page.get_by_label("Keep me signed in").uncheck()
    alice.enter("alice")
    other = Person(context.new_page(), url)
    other.expect_entered()
    alice.page.reload()
    alice.expect_entered()
    alice.page.close()
    other.page.close()
    later = Person(context.new_page(), url)
    expect(later.page.get_by_role("button", name="Sign in")).to_be_visible()
    assert context.cookies() == []
    later.expect_no_complaints()


def test_a_session_that_the_server_forgot_asks_for_the_password(someone: Someone, server: RestartableServer) -> None:
    alice = someone()
    alice.enter("alice")
    alice.say("For those who are signed in")
    server.stop()
    server.forget()
    server.start()
    expect(alice.page.get_by_role("alert").filter(has_text="Your session has ended")).to_be_visible()
    assert "For those who are signed in" not in alice.page.content()
    alice.enter("alice")


def test_signing_out_leaves_nothing_behind(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.go_to("secret-room")
    alice.say("Secret words")
    alice.field.fill("Unsent words")
    with alice.page.expect_response("**/logout") as answer:
        alice.sign_out()
    assert answer.value.status == 204
    left = alice.page.content() + alice.page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    words = ("Secret words", "Unsent words", "alice")
    assert not [word for word in words if word in left]
    assert alice.page.title() == "Hubbub"
    assert alice.page.context.cookies() == []
    # Whoever signs in next sees what is theirs.
    alice.enter("bob")
    alice.expect_in("general")
    alice.expect_not_heard("Secret words")
    expect(alice.field).to_have_value("")
    alice.sign_out()
    alice.page.reload()
    expect(alice.page.get_by_label("Name", exact=True)).to_be_focused()
    alice.expect_no_complaints()


def test_signing_out_in_one_tab_ends_the_others(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    other = Person(alice.page.context.new_page(), alice.page.url)
    other.expect_entered()
    alice.sign_out()
    expect(other.page.get_by_role("button", name="Sign in")).to_be_visible()


def test_the_first_account_is_made_by_the_link(someone: Someone, tmp_path: Path) -> None:
    with running(tmp_path, "--engine", f"sqlite:///{tmp_path}/own.db", tls=True, demo=False) as own:
        link = re.search(r"https://\S+#setup=\S+", own.log())
        assert link is not None
        anna, eve = someone(link[0]), someone(link[0])
        for person in (anna, eve):
            expect(person.page.get_by_role("button", name="Make account")).to_be_visible()
        anna.expect_accessible()
        anna.page.get_by_label("Name", exact=True).fill("anna")
        anna.page.get_by_label("Password", exact=True).fill("pw")
        anna.page.get_by_role("button", name="Make account").click()
        anna.expect_entered()
        assert "setup" not in anna.page.url
        eve.page.get_by_label("Name", exact=True).fill("eve")
        eve.page.get_by_label("Password", exact=True).fill("pw")
        eve.page.get_by_role("button", name="Make account").click()
        expect(eve.page.get_by_role("alert")).to_contain_text("link has been used")
        expect(eve.page.get_by_role("button", name="Sign in")).to_be_visible()
        anna.expect_no_complaints()
        # Who comes later is told before anything is typed.
        max_ = someone(link[0])
        expect(max_.page.get_by_role("alert")).to_contain_text("This link has been used")
        expect(max_.page.get_by_role("button", name="Sign in")).to_be_visible()
        assert "setup" not in max_.page.url
        max_.expect_no_complaints()


def test_who_is_not_let_in_is_told_why(someone: Someone, tmp_path: Path) -> None:
    with running(tmp_path, "--max-clients", "1", tls=True) as full:
        alice, bob = someone(full.origin), someone(full.origin)
        alice.enter("alice")
        bob.log_in("bob")
        expect(bob.page.locator("#status")).to_contain_text("this server is full: 1 connections")
        alice.sign_out()
        bob.expect_entered()
        alice.expect_no_complaints()
        bob.expect_no_complaints(but=SERVER_AWAY)


def made_link(person: Person) -> str:
    field = person.page.get_by_label("The link of the invitation")
    expect(field).to_have_value(re.compile("#/signup/"))
    return field.input_value()


def test_an_invitation_lets_in_as_many_as_it_says(browser: Browser, someone: Someone, tmp_path: Path) -> None:
    with running(tmp_path, "--engine", f"sqlite:///{tmp_path}/own.db", tls=True, demo=False) as own:
        setup = re.search(r"https://\S+#setup=\S+", own.log())
        assert setup is not None
        anna = someone(setup[0])
        anna.page.get_by_label("Name", exact=True).fill("anna")
        anna.page.get_by_label("Password", exact=True).fill("pw")
        anna.page.get_by_role("button", name="Make account").click()
        anna.expect_entered()
        anna.open_settings()
        anna.page.get_by_label("What it is for (optional)").fill("for Ben")
        anna.page.get_by_role("button", name="Make a link").click()
        link = made_link(anna)
        expect(anna.page.get_by_role("button", name=re.compile("^Revoke for Ben"))).to_be_visible()
        anna.expect_accessible()
        ben = someone(link)
        expect(ben.page.get_by_text("anna invites you")).to_be_visible()
        ben.expect_accessible()
        ben.page.get_by_label("Name", exact=True).fill("anna")
        ben.page.get_by_label("Password", exact=True).fill("pw of ben")
        ben.page.get_by_role("button", name="Make account").click()
        expect(ben.page.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
        ben.page.get_by_label("Name", exact=True).fill("ben")
        ben.page.get_by_label("Your name, as others see it (optional)").fill("Ben Weiß")
        ben.page.get_by_role("button", name="Make account").click()
        ben.expect_entered()
        assert "signup" not in ben.page.url
        expect(ben.page.locator("#account-name")).to_have_text("Ben Weiß")
        late = someone(link)
        expect(late.page.get_by_role("alert")).to_contain_text("This invitation is used up")
        anna.expect_no_complaints()
        ben.expect_no_complaints(but=["status of 409"])


def test_a_revoked_invitation_lets_nobody_in(someone: Someone, tmp_path: Path) -> None:
    with running(tmp_path, "--engine", f"sqlite:///{tmp_path}/own.db", tls=True, demo=False) as own:
        setup = re.search(r"https://\S+#setup=\S+", own.log())
        assert setup is not None
        anna = someone(setup[0])
        anna.page.get_by_label("Name", exact=True).fill("anna")
        anna.page.get_by_label("Password", exact=True).fill("pw")
        anna.page.get_by_role("button", name="Make account").click()
        anna.expect_entered()
        anna.open_settings()
        anna.page.get_by_role("button", name="Make a link").click()
        link = made_link(anna)
        anna.page.get_by_role("button", name=re.compile("^Revoke the invitation")).click()
        anna.expect_accessible()
        anna.page.get_by_role("button", name="Revoke", exact=True).click()
        expect(anna.page.get_by_role("button", name=re.compile("^Revoke the invitation"))).to_have_count(0)
        ben = someone(link)
        expect(ben.page.get_by_role("alert")).to_contain_text("This invitation is used up")
        anna.expect_no_complaints()


def test_members_see_no_invitations(someone: Someone) -> None:
    alice = someone()
    alice.enter("alice")
    alice.open_settings()
    expect(alice.page.get_by_role("heading", name="Password")).to_be_visible()
    expect(alice.page.get_by_role("heading", name="Invitations")).to_have_count(0)
    alice.expect_no_complaints()
