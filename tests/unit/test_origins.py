"""The pages that may speak to a server, and what the others are told; which these are is `is_allowed_origin`'s."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from hubbub.settings import Settings
from hubbub.testing import Clock
from hubbub.wire.denial import Denied
from hubbub.wire.origins import LINES, LINES_EVERY_S, Origins
from hubbub.wire.request import Request

OWN = "https://chat.example.org"
# What nginx says where it is not told to pass Host on.
INNER = "127.0.0.1:8080"


def request(origin: str | None, host: str = INNER, *, is_secure: bool = False) -> Request:
    headers = {"host": [host]} | ({} if origin is None else {"origin": [origin]})
    return Request("POST", "/login", "", headers, "192.0.2.1", is_secure=is_secure)


def refusal(origins: Origins, origin: str) -> Denied:
    with pytest.raises(Denied) as caught:
        origins.check(request(origin))
    return caught.value


def warnings(lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["log_level"] == "warning"]


def test_its_own_pages_the_listed_ones_and_programs_are_let_in() -> None:
    origins = Origins(Settings(no_tls=True, allow_origin=("https://listed.example",)), Clock())
    with structlog.testing.capture_logs() as lines:
        origins.check(request(OWN, "chat.example.org"))
        origins.check(request("https://listed.example"))
        origins.check(request(None))
    assert not lines


@pytest.mark.parametrize(("no_tls", "is_secure"), [(True, True), (False, False)])
def test_a_page_without_tls_is_foreign_where_there_is_tls(no_tls: bool, is_secure: bool) -> None:
    origins = Origins(Settings(no_tls=no_tls), Clock())
    origins.check(request("https://a.example", "a.example", is_secure=is_secure))
    with pytest.raises(Denied):
        origins.check(request("http://a.example", "a.example", is_secure=is_secure))


def test_a_refusal_names_the_page_and_what_a_proxy_must_do() -> None:
    with structlog.testing.capture_logs() as lines:
        denied = refusal(Origins(Settings(no_tls=True), Clock()), OWN)
    assert denied.status == 403
    assert OWN in denied.message
    assert "proxy_set_header Host $http_host" in denied.message
    assert "--allow-origin" in denied.message
    # The proxy hides it.
    assert INNER not in denied.message
    [line] = warnings(lines)
    assert (line["origin"], line["host"], line["address"]) == (OWN, INNER, "192.0.2.1")


@pytest.mark.parametrize(
    "origin", ["null", "", "https://a\x1b[31m", f"https://{'a' * 81}", "https://a/<b>", "x" * 10_000]
)
def test_what_is_no_origin_is_not_shown(origin: str) -> None:
    with structlog.testing.capture_logs() as lines:
        denied = refusal(Origins(Settings(no_tls=True), Clock()), origin)
    assert "a page of another site" in denied.message
    assert warnings(lines)[0]["origin"] == "another site"


def test_a_flood_of_foreign_pages_does_not_fill_the_log() -> None:
    clock = Clock()
    origins = Origins(Settings(no_tls=True), clock)
    with structlog.testing.capture_logs() as lines:
        for _ in range(LINES + 3):
            refusal(origins, OWN)
        clock.go(LINES_EVERY_S)
        refusal(origins, OWN)
    assert [line["left_out"] for line in warnings(lines)] == [*[0] * LINES, 3]
