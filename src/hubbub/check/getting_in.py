"""Checks of section 1: logging in, one-time passwords, and the door."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from typing import Any

from hubbub.check.outcome import NotOffered
from hubbub.check.target import SUBPROTOCOL, Answer, Target

__all__ = [
    "another_ticket",
    "any_content_type",
    "bad_token",
    "error_shape",
    "foreign_origin",
    "log_in",
    "log_out",
    "malformed_login",
    "no_origin",
    "no_ticket",
    "not_an_upgrade",
    "on_root",
    "order_of_checks",
    "own_origin",
    "setup_is_closed",
    "ticket_expires",
    "ticket_in_subprotocol",
    "ticket_is_long",
    "ticket_once",
    "token_and_expiry",
    "wrong_password",
]

FOREIGN = "https://elsewhere.invalid"
OTP_LIFE_S = 5.0
OTP_BITS = 128
JSON_BODY = "Content-Type: application/json"


def credentials(target: Target, **changes: str) -> bytes:
    known = target.login
    return json.dumps({"username": known.user, "password": known.password} | changes).encode()


def read(target: Target, answer: Answer, status: int) -> dict[str, Any]:
    """The JSON of an answer with this status."""
    target.trace.expect(answer.status == status, f"HTTP {status}")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise target.trace.failed("a JSON object")
    return found


async def logged_in(target: Target, *lines: str) -> dict[str, Any]:
    answer = await target.ask("POST", "/login", credentials(target), "with name and password", *lines)
    found = read(target, answer, 200)
    if isinstance(found.get("token"), str) and found["token"].isascii() and found["token"].isprintable():
        target.tokens.append(found["token"])
    return found


async def token(target: Target) -> str:
    found = (await logged_in(target, JSON_BODY)).get("token")
    if not isinstance(found, str) or not found:
        raise NotOffered("a login here gives no token")
    return found


async def assert_opens(target: Target, otp: str) -> None:
    async with target.classic(otp=otp):
        pass


# Logging in


async def log_in(target: Target) -> None:
    otp = (await logged_in(target, JSON_BODY)).get("otp")
    target.trace.expect(isinstance(otp, str) and bool(otp), "an otp", "HTTP 200 without a string otp")
    await assert_opens(target, str(otp))


async def any_content_type(target: Target) -> None:
    await logged_in(target)
    await logged_in(target, "Content-Type: text/plain;charset=UTF-8")


async def token_and_expiry(target: Target) -> None:
    found = await logged_in(target, JSON_BODY)
    is_token = isinstance(found.get("token"), str) and bool(found["token"])
    target.trace.expect(is_token, "a token", "HTTP 200 without a string token")
    target.trace.expect(is_whole(found.get("expires_in")), "expires_in, in seconds", f"{found.get('expires_in')!r}")


def is_whole(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and found > 0


async def malformed_login(target: Target) -> None:
    incomplete = (json.dumps({"username": target.login.user}).encode(), b'{"password": "x"}')
    # Where the users are an application's, its check is asked whatever is missing, and there is no first account.
    is_foreign = (await target.ask("GET", "/setup")).status == 404
    for body in (b"{", b"[]", *(() if is_foreign else incomplete)):
        answer = await target.ask("POST", "/login", body, body.decode(), JSON_BODY)
        target.trace.expect(answer.status == 400, "HTTP 400")


async def wrong_password(target: Target) -> None:
    wrong = credentials(target, password=secrets.token_hex(8))
    first = await target.ask("POST", "/login", wrong, "with a wrong password", JSON_BODY)
    target.trace.expect(first.status == 401, "HTTP 401")
    unknown = credentials(target, username=f"check-{secrets.token_hex(4)}")
    second = await target.ask("POST", "/login", unknown, "with a name that has no account", JSON_BODY)
    target.trace.expect(second.status == 401, "HTTP 401")
    target.trace.expect(first.body == second.body, f"the same body as for a wrong password, {first}")


async def another_ticket(target: Target) -> None:
    bearer = f"Authorization: Bearer {await token(target)}"
    answer = await target.ask("POST", "/otp", b"", "with the token", bearer)
    otp = read(target, answer, 200).get("otp")
    target.trace.expect(isinstance(otp, str), "an otp", "HTTP 200 without a string otp")
    await assert_opens(target, str(otp))


async def bad_token(target: Target) -> None:
    await token(target)
    for path in ("/otp", "/logout"):
        answer = await target.ask("POST", path, b"", "without a token")
        target.trace.expect(answer.status == 401, "HTTP 401")
        answer = await target.ask("POST", path, b"", "with a made-up token", "Authorization: Bearer nonsense")
        target.trace.expect(answer.status == 401, "HTTP 401")


async def error_shape(target: Target) -> None:
    for path, body in (("/login", b"{"), ("/login", credentials(target, password=secrets.token_hex(8))), ("/otp", b"")):
        answer = await target.ask("POST", path, body, "that is wrong", JSON_BODY)
        error = read(target, answer, answer.status).get("error")
        is_right = isinstance(error, dict) and all(isinstance(error.get(key), str) for key in ("code", "message"))
        target.trace.expect(answer.status >= 400 and is_right, '{"error": {"code", "message"}}')
    refused = await target.refusal(None)
    target.trace.expect(isinstance(read(target, refused, refused.status).get("error"), dict), '{"error": {...}}')


async def setup_is_closed(target: Target) -> None:
    body = json.dumps({"secret": "nonsense", "username": "check", "password": secrets.token_hex(8)}).encode()
    answer = await target.ask("POST", "/setup", body, "with a wrong secret", JSON_BODY)
    if answer.status == 404:
        raise NotOffered("the accounts here are made elsewhere")
    target.trace.expect(answer.status == 403, "HTTP 403")


async def log_out(target: Target) -> None:
    bearer = f"Authorization: Bearer {await token(target)}"
    ticket = read(target, await target.ask("POST", "/otp", b"", "with the token", bearer), 200)
    async with target.v1(otp=str(ticket.get("otp"))) as peer:
        answer = await target.ask("POST", "/logout", b"", "with the token", bearer)
        target.trace.expect(answer.status == 204, "HTTP 204")
        await peer.assert_closed(4100)
    answer = await target.ask("POST", "/otp", b"", "with the token that has logged out", bearer)
    target.trace.expect(answer.status == 401, "HTTP 401")


# One-time passwords


async def ticket_is_long(target: Target) -> None:
    first, second = await target.ticket(), await target.ticket()
    target.trace.expect(first != second, "another one each time", "the same one-time password twice")
    bits = len(first) * math.log2(16 if all(each in "0123456789abcdef-" for each in first) else 64)
    came = f"one of {len(first)} characters"
    target.trace.expect(bits >= OTP_BITS, f"a one-time password that has room for {OTP_BITS} bits", came)


async def ticket_once(target: Target) -> None:
    otp = await target.ticket()
    await assert_opens(target, otp)
    answer = await target.refusal(otp)
    target.trace.expect(answer.status == 401, "HTTP 401 for a one-time password that was used")


async def no_ticket(target: Target) -> None:
    for otp in (None, "", "nonsense"):
        answer = await target.refusal(otp)
        target.trace.expect(answer.status == 401, "HTTP 401")


async def ticket_expires(target: Target) -> None:
    otp = await target.ticket()
    await asyncio.sleep(OTP_LIFE_S + 0.2)
    answer = await target.refusal(otp)
    target.trace.expect(answer.status == 401, f"HTTP 401 for a one-time password of over {OTP_LIFE_S:.0f} s")


async def ticket_in_subprotocol(target: Target) -> None:
    async with target.connection(None, SUBPROTOCOL, f"otp.{await target.ticket()}") as connection:
        echoed = connection.subprotocol
        target.trace.expect(echoed == SUBPROTOCOL, f"{SUBPROTOCOL} echoed", f"101 with the subprotocol {echoed}")


# The door


async def foreign_origin(target: Target) -> None:
    otp = await target.ticket()
    answer = await target.refusal(otp, origin=FOREIGN)
    target.trace.expect(answer.status == 403, "HTTP 403 for a foreign Origin")
    await assert_opens(target, otp)
    answer = await target.refusal("nonsense", origin=FOREIGN)
    target.trace.expect(answer.status == 403, "HTTP 403, Origin before the one-time password")


async def own_origin(target: Target) -> None:
    scheme = "https" if target.server.tls else "http"
    async with target.classic(origin=f"{scheme}://{target.server.netloc}"):
        pass


async def no_origin(target: Target) -> None:
    async with target.classic():
        pass


async def not_an_upgrade(target: Target) -> None:
    answer = await target.ask("GET", target.path, b"", "without an upgrade")
    target.trace.expect(answer.status == 426, "HTTP 426")


async def on_root(target: Target) -> None:
    async with target.classic(path="/"):
        pass


async def order_of_checks(target: Target) -> None:
    otp = await target.ticket()
    await target.refusal(otp, path="/no-such-path")
    await assert_opens(target, otp)
