"""The cookie of a session: whom it is for, and when it counts."""

from __future__ import annotations

import pytest

from hubbub.http.cookies import Cookies
from hubbub.settings import Settings
from hubbub.wire.request import Request

HOST = "chat.example"


def request(method: str = "POST", *, is_secure: bool = False, **headers: str) -> Request:
    named = {name.replace("_", "-"): [value] for name, value in {"host": HOST, **headers}.items()}
    return Request(method, "/otp", "", named, "127.0.0.1", b"", is_secure=is_secure)


def cookies(*, no_tls: bool = False) -> Cookies:
    listed = ("https://listed.example",)
    return Cookies(Settings(no_tls=no_tls, allow_origin=listed), 3600.0)


def test_no_script_reads_it_and_no_other_site_sends_it() -> None:
    line = cookies().set(request(origin=f"https://{HOST}"), "secret")
    assert line == "__Host-hubbub=secret; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict; Secure"


def test_plain_http_has_one_of_another_name() -> None:
    line = cookies(no_tls=True).set(request(origin=f"http://{HOST}"), "secret")
    assert line == "hubbub=secret; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict"


@pytest.mark.parametrize("is_secure", [True, False], ids=["told by the proxy", "untold"])
def test_behind_a_proxy_that_ends_tls_it_is_a_secure_one(is_secure: bool) -> None:
    line = cookies(no_tls=True).set(request(origin=f"https://{HOST}", is_secure=is_secure), "secret")
    assert line.startswith("__Host-")
    assert line.endswith("; Secure")


def test_it_is_taken_back_at_once() -> None:
    assert "__Host-hubbub=; Path=/; Max-Age=0;" in cookies().clear(request(origin=f"https://{HOST}"))


def test_it_counts_among_others() -> None:
    sent = request(origin=f"https://{HOST}", cookie="theme=dark; __Host-hubbub=secret; x")
    assert cookies().token_of(sent) == "secret"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://listed.example", f"https://{HOST}:8443", f"http://{HOST}", "null"]
)
def test_it_counts_for_no_other_origin(origin: str) -> None:
    sent = request(origin=origin, cookie="__Host-hubbub=secret")
    assert cookies().token_of(sent) == ""
    assert not cookies().are_for(sent)


def test_it_does_not_count_where_no_page_says_that_it_asks() -> None:
    assert cookies().token_of(request(cookie="__Host-hubbub=secret")) == ""
    assert cookies().token_of(request("GET", cookie="__Host-hubbub=secret")) == ""
    assert cookies().token_of(request("GET", cookie="__Host-hubbub=secret", sec_fetch_site="cross-site")) == ""


def test_looking_needs_no_origin_where_the_browser_says_that_it_is_the_same() -> None:
    sent = request("GET", cookie="__Host-hubbub=secret", sec_fetch_site="same-origin")
    assert cookies().token_of(sent) == "secret"


def test_one_that_plain_http_could_have_set_does_not_count_with_tls() -> None:
    assert cookies().token_of(request(origin=f"https://{HOST}", cookie="hubbub=secret")) == ""
