"""A proxy that leaves out what the server needs: the page says so, rather than try for ever without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from head_proxy import HeadProxy, head_proxy, without
from people import Person
from playwright.sync_api import Browser, expect

from servers import ServerProcess, running

NO_HOST = "a proxy on the way does not pass Host on"
NO_UPGRADE = "A proxy on the way may not pass Upgrade on."


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[ServerProcess]:
    with running(tmp_path, "--trusted-proxy", "127.0.0.1") as server:
        yield server


@pytest.fixture
def proxy(plain: ServerProcess) -> Iterator[HeadProxy]:
    with head_proxy(plain.port) as proxy:
        yield proxy


@pytest.fixture
def percy(browser: Browser, proxy: HeadProxy) -> Iterator[Person]:
    """Somebody at the page, through the proxy."""
    context = browser.new_context()
    yield Person(context.new_page(), proxy.url)
    context.close()


def own_host(server: ServerProcess) -> Callable[[list[str]], list[str]]:
    """The usual nginx block without `proxy_set_header Host`."""
    return lambda lines: [*without(lines, "host"), f"Host: 127.0.0.1:{server.port}"]


def no_upgrade(lines: list[str]) -> list[str]:
    """The usual nginx block without `proxy_set_header Upgrade`."""
    return without(lines, "upgrade", "connection")


def try_now(person: Person) -> None:
    """Press the button, which a try that has just succeeded by itself may take away meanwhile."""
    person.page.locator("#status-retry").dispatch_event("click")


def test_all_is_well_with_a_proxy_that_changes_nothing(percy: Person) -> None:
    percy.enter("percy")
    percy.say("through a proxy")
    percy.expect_no_complaints()


def test_a_login_says_that_the_host_is_not_passed_on(percy: Person, proxy: HeadProxy, plain: ServerProcess) -> None:
    proxy.change = own_host(plain)
    percy.log_in("percy")
    expect(percy.page.get_by_role("alert")).to_contain_text(NO_HOST)
    assert "a proxy does not pass Host on" in plain.log()


def test_who_is_logged_in_is_told_that_the_host_is_not_passed_on(
    percy: Person, proxy: HeadProxy, plain: ServerProcess
) -> None:
    percy.enter("percy")
    proxy.change = own_host(plain)
    percy.page.reload()
    expect(percy.page.locator("#status")).to_contain_text(NO_HOST)
    # It goes on by itself once that is mended.
    proxy.change = lambda lines: lines
    try_now(percy)
    percy.expect_entered()


def test_the_page_says_that_no_websocket_gets_through(percy: Person, proxy: HeadProxy, plain: ServerProcess) -> None:
    proxy.change = no_upgrade
    percy.log_in("percy")
    expect(percy.page.locator("#status")).to_contain_text(NO_UPGRADE)
    assert "a proxy on the way does not pass it on" in plain.log()
    proxy.change = lambda lines: lines
    try_now(percy)
    percy.expect_entered()
