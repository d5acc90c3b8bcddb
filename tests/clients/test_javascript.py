"""The JavaScript client as it is published: types, size, the package in Node and in a page of another origin."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from chaos.killable import Killable
from chromium import CHROMIUM, CHROMIUM_ARGS
from clients.conftest import FLAGS
from clients.node import node_command, npm, tool
from clients.site import site
from clients.strings import ROOT, Strings
from servers import running

PACKAGE = ROOT / "clients" / "js"
HERE = Path(__file__).parent
EXAMPLES = ROOT / "examples"
# Of the client minified and compressed, which is what an application's build makes of it.
MOST_BYTES = 12 * 1024
MESSAGES = int(os.environ.get("HUBBUB_CLIENT_MESSAGES", "2000"))
EXPECT_MS = 30_000


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as npm unpacks it, from the tarball that it would publish."""
    folder = tmp_path_factory.mktemp("package")
    source = shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("node_modules", "types"))
    tool("tsc")
    npm("pack", "--pack-destination", folder, cwd=source)
    (tarball,) = folder.glob("*.tgz")
    shutil.unpack_archive(tarball, folder / "unpacked")
    return folder / "unpacked" / "package"


def test_its_types_are_right() -> None:
    told = subprocess.run([tool("tsc"), "-p", PACKAGE], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize("parts", ["parts.test.mjs", "signing-in.test.mjs"])
def test_its_parts_keep_their_rules(parts: str) -> None:
    told = subprocess.run([*node_command(), "--test", HERE / parts], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_the_tarball_has_the_modules_and_their_types_and_depends_on_nothing(package: Path) -> None:
    files = {str(file.relative_to(package)) for file in package.rglob("*") if file.is_file()}
    modules = {str(file.relative_to(PACKAGE)) for file in (PACKAGE / "src").rglob("*.js")}
    types = {re.sub("^src(.*)[.]js$", r"types\1.d.ts", name) for name in modules}
    assert files == {*modules, *types, "package.json", "README.md", "LICENSE"}
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    about = json.loads((package / "package.json").read_text())
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & set(about)


def test_it_is_small() -> None:
    entry = str(PACKAGE / "src" / "hubbub.js")
    command = [str(tool("esbuild")), entry, "--bundle", "--minify", "--format=esm"]
    built = subprocess.run(command, capture_output=True, check=True).stdout
    assert len(gzip.compress(built, 9)) < MOST_BYTES


def test_an_application_is_helped_by_its_types(package: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "hubbub-chat").symlink_to(package)
    (tmp_path / "app.ts").write_text(
        """
import { Hubbub, HubbubError } from "hubbub-chat";
const chat = new Hubbub("https://chat.example");
chat.on("message", ({ seq, text }) => { const a: number = seq; const b: string = text; void [a, b]; });
chat.on("state", ({ state }) => { const s: "offline" | "connecting" | "online" | "closed" = state; void s; });
const sent: number = (await chat.send("lunch", "hi").done).seq;
// @ts-expect-error there is no such event
chat.on("massage", () => {});
export { sent, HubbubError };
"""
    )
    flags = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom"]
    (tmp_path / "package.json").write_text('{"type": "module"}')
    told = subprocess.run([tool("tsc"), *flags, "app.ts"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_of_many_messages_over_a_killed_server_none_is_lost_or_comes_twice(package: Path, tmp_path: Path) -> None:
    with Killable(tmp_path, *FLAGS, "--client-rate", "0") as server, ExitStack() as clients:
        url = f"http://127.0.0.1:{server.port}"
        sender, hearer = (Strings("javascript", url, package / "src" / "hubbub.js") for _ in range(2))
        for client, user in ((sender, "percy"), (hearer, "alice")):
            clients.callback(client.end)
            client.sign_in(user)
            client.do("join", room="lunch")
        for start in range(0, MESSAGES, 500):
            sent = [sender.begin("send", room="lunch", text=str(n)) for n in range(start, start + 500)]
            if start in (500, MESSAGES // 2):
                server.restart()
            for number in sent:
                sender.answer(number)
        sender.do("send", room="lunch", text="end")
        expected = [*map(str, range(MESSAGES)), "end"]
        assert hearer.texts("lunch", "end") == expected
        assert sender.texts("lunch", "end") == expected


def test_rooms_that_are_followed_tell_what_is_unread(tmp_path: Path) -> None:
    with running(tmp_path) as server, ExitStack() as clients:
        percy, alice = (Strings("javascript", server.origin) for _ in range(2))
        for client, user in ((percy, "percy"), (alice, "alice")):
            clients.callback(client.end)
            client.sign_in(user)
        alice.do("join", room="lunch")
        alice.do("send", room="lunch", text="hi")
        percy.do("follow", room="Lunch")
        assert percy.do("rooms") == [{"room": "lunch", "state": "out", "unread": 1, "mentions": 0, "read": 0}]
        percy.do("join", room="lunch")
        alice.do("send", room="lunch", text="@percy?")
        percy.wait_for_event("message", text="@percy?")
        assert percy.do("rooms") == [{"room": "lunch", "state": "in", "unread": 2, "mentions": 1, "read": 0}]
        percy.do("mark_read", room="lunch", seq=2)
        assert percy.do("rooms") == [{"room": "lunch", "state": "in", "unread": 0, "mentions": 0, "read": 2}]
        alice.do("join", room="dm:alice,percy")
        alice.do("send", room="dm:alice,percy", text="psst")
        percy.wait_for_event("rooms", rooms=["dm:alice,percy", "lunch"])
        percy.do("unfollow", room="lunch")
        percy.do("leave", room="lunch")
        percy.wait_for_event("rooms", rooms=["dm:alice,percy"])


def test_what_was_said_is_changed_for_all(tmp_path: Path) -> None:
    with running(tmp_path) as server, ExitStack() as clients:
        percy, alice = (Strings("javascript", server.origin) for _ in range(2))
        for client, user in ((percy, "percy"), (alice, "alice")):
            clients.callback(client.end)
            client.sign_in(user)
            client.do("join", room="lunch")
        percy.do("send", room="lunch", text="hi")
        percy.do("edit", room="lunch", seq=1, text="hello")
        alice.wait_for_event("changed", room="lunch", seq=1, text="hello")
        alice.do("react", room="lunch", seq=1, emoji="+1", on=True)
        percy.wait_for_event("changed", seq=1, reactions=[{"emoji": "+1", "users": ["alice"]}])
        percy.do("delete", room="lunch", seq=1)
        alice.wait_for_event("changed", seq=1, text="", deleted=True, reactions=[])
        assert alice.do("history", room="lunch", limit=10)["texts"] == [""]


def test_the_bot_answers(tmp_path: Path) -> None:
    with running(tmp_path) as server, ExitStack() as clients:
        bot = subprocess.Popen([*node_command(), EXAMPLES / "bot.mjs", server.origin])
        clients.callback(bot.wait)
        clients.callback(bot.terminate)
        person = Strings("javascript", server.origin)
        clients.callback(person.end)
        person.sign_in()
        person.do("join", room="general")
        if person.do("presence", room="general") != ["bob", "percy"]:
            person.wait_for_event("members", users=["bob", "percy"])
        person.do("send", room="general", text="hi")
        person.wait_for_event("message", text="percy said: hi")


# In a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=EXPECT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    # Playwright waits by evaluating strings, which the server's policy forbids.
    context = chromium.new_context(bypass_csp=True)
    context.set_default_timeout(EXPECT_MS)
    yield context
    context.close()


def test_the_plain_page_talks(context: BrowserContext, tmp_path: Path) -> None:
    with site(EXAMPLES) as other, running(tmp_path, "--allow-origin", other) as server:
        page = context.new_page()
        page.goto(f"{other}/plain.html?server={server.origin}")
        expect(page.locator("#state")).to_have_text("online")
        page.get_by_label("Message").fill("hi")
        page.get_by_role("button").click()
        expect(page.locator("li")).to_have_text(["percy: hi"])


def test_the_page_of_votes_counts_them(context: BrowserContext, tmp_path: Path) -> None:
    with (
        site(EXAMPLES) as other,
        running(tmp_path, "--allow-origin", other, target="votes:hub", cwd=EXAMPLES) as server,
    ):
        pages = [context.new_page() for _ in range(2)]
        for page in pages:
            page.goto(f"{other}/votes.html?server={server.origin}")
        pages[0].get_by_role("button", name="Pasta").click()
        pages[1].get_by_role("button", name="Soup").click()
        for page in pages:
            expect(page.locator("output")).to_have_text(["1", "1"])


APP = """
import { Hubbub } from "/package/src/hubbub.js";
window.told = [];
window.chat = new Hubbub(SERVER);
for (const type of ["message", "gap", "state", "closed"]) chat.on(type, (event) => told.push({ ...event, type }));
window.ready = chat.signIn("percy", "123").then(() => chat.join("lunch"));
"""


def test_the_package_goes_on_over_a_killed_server_in_a_page_of_another_origin(
    context: BrowserContext, package: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(package, folder / "package")
    with site(folder) as other, Killable(tmp_path, *FLAGS, "--allow-origin", other) as server:
        url = json.dumps(f"http://127.0.0.1:{server.port}")
        (folder / "app.js").write_text(APP.replace("SERVER", url))
        (folder / "index.html").write_text('<!doctype html><script type="module" src="app.js"></script>')
        page = context.new_page()
        page.goto(other)
        page.wait_for_function("window.ready")
        page.evaluate("() => ready")
        page.evaluate(
            "() => { window.sent = Array.from({ length: 50 }, (_, n) => chat.send('lunch', String(n)).done) }"
        )
        server.restart()
        page.evaluate("() => Promise.all(sent)")
        page.wait_for_function("told.filter(({ type }) => type === 'message').length >= 50")
        heard = page.evaluate("told.filter(({ type }) => type === 'message').map(({ seq, text }) => [seq, text])")
        assert heard == [[n + 1, str(n)] for n in range(50)]
        assert page.evaluate("told.some(({ type }) => type === 'gap')") is False


# A page of the server's own: the cookie, the outbox in IndexedDB, several tabs

OWN = """
async () => {
  const { Hubbub } = await import("/hubbub.js");
  window.chat = new Hubbub();
  window.states = [];
  chat.on("state", ({ state }) => states.push(state));
}
"""


def own_page(context: BrowserContext, url: str) -> Page:
    """A page of the server's own with a client in it, and nothing else."""
    page = context.new_page()
    page.goto(f"{url}/healthz")
    page.evaluate(OWN)
    return page


def texts(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "() => chat.join('lunch', { history: 200 }).then(({ messages }) => messages.map(({ text }) => text))"
    )
    return found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Killable]:
    with Killable(tmp_path, *FLAGS) as server:
        yield server


def test_a_session_outlives_its_page_and_no_script_can_read_it(context: BrowserContext, own: Killable) -> None:
    url = f"http://127.0.0.1:{own.port}"
    page = own_page(context, url)
    assert page.evaluate("() => chat.resumeSession()") is False
    page.evaluate("() => chat.signIn('percy', '123')")
    assert (
        page.evaluate("() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage })").count("percy")
        == 1
    )
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    other = own_page(context, url)
    page.close()
    assert other.evaluate("() => chat.resumeSession()") is True
    assert other.evaluate("() => chat.user") == "percy"
    other.evaluate("() => chat.signOut()")
    assert context.cookies() == []
    assert own_page(context, url).evaluate("() => chat.resumeSession()") is False


def test_what_was_not_sent_outlives_the_page_and_is_sent_once(context: BrowserContext, own: Killable) -> None:
    url = f"http://127.0.0.1:{own.port}"
    page = own_page(context, url)
    page.evaluate("() => chat.signIn('percy', '123').then(() => chat.join('lunch'))")
    own.kill()
    page.wait_for_function("chat.state === 'offline'")
    page.evaluate("() => { for (const n of [1, 2, 3]) chat.send('lunch', String(n)) }")
    page.wait_for_function(
        "() => new Promise((resolve) => { indexedDB.open('hubbub').onsuccess = ({ target: { result } }) => {"
        " result.transaction('outbox').objectStore('outbox').count().onsuccess = (event) => {"
        " result.close(); resolve(event.target.result === 3) } } })"
    )
    page.close()
    own.start()
    pages = [own_page(context, url) for _ in range(2)]
    for each in pages:
        each.evaluate("() => chat.resumeSession()")
        assert each.evaluate("() => chat.outbox('lunch').map(({ text }) => text)") == ["1", "2", "3"]
    for each in pages:
        each.evaluate("() => chat.join('lunch')")
        each.wait_for_function("chat.outbox().length === 0")
    for each in pages:
        each.wait_for_function("chat.rooms.get('lunch').last === 3")
        assert texts(each) == ["1", "2", "3"]


def test_what_one_tab_sends_the_others_show(context: BrowserContext, own: Killable) -> None:
    url = f"http://127.0.0.1:{own.port}"
    pages = [own_page(context, url) for _ in range(2)]
    pages[0].evaluate("() => chat.signIn('percy', '123')")
    pages[1].evaluate("() => chat.resumeSession()")
    for page in pages:
        page.evaluate("() => chat.join('lunch')")
    own.kill()
    pages[0].wait_for_function("chat.state === 'offline'")
    pages[0].evaluate("() => void chat.send('lunch', 'hi')")
    pages[1].wait_for_function("chat.outbox('lunch').length === 1")
    assert pages[1].evaluate("() => chat.outbox('lunch')[0].state") == "waiting"
    pages[0].close()  # the other one takes it over
    own.start()
    pages[1].wait_for_function("chat.outbox('lunch').length === 0")
    assert texts(pages[1]) == ["hi"]


def test_a_network_that_is_gone_is_shown_at_once(context: BrowserContext, own: Killable) -> None:
    page = own_page(context, f"http://127.0.0.1:{own.port}")
    page.evaluate("() => chat.signIn('percy', '123')")
    assert page.evaluate("() => { dispatchEvent(new Event('offline')); return chat.state }") == "offline"
    page.wait_for_function("chat.state === 'online'")  # it asked, and there was an answer


def test_another_user_who_signs_in_ends_the_first_one_in_all_tabs(context: BrowserContext, own: Killable) -> None:
    url = f"http://127.0.0.1:{own.port}"
    first, second = (own_page(context, url) for _ in range(2))
    first.evaluate("() => chat.signIn('percy', '123')")
    second.evaluate("() => chat.signIn('alice', '123')")
    first.wait_for_function("chat.state === 'closed'")
    third = own_page(context, url)
    assert third.evaluate("() => chat.resumeSession()") is True
    assert third.evaluate("() => chat.user") == "alice"
