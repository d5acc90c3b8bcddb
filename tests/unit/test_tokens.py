"""Users whom a JSON Web Token stands for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest

from hubbub import Refused, Role
from hubbub.core import tokens_for
from hubbub.engine import Grant
from hubbub.errors import ConfigError
from hubbub.otp import digest
from hubbub.settings import Settings
from hubbub.signers import Key, Signers, read_keys
from hubbub.testing import Clock
from hubbub.tokens import BadToken, Tokens, is_jwt
from unit.test_signers import PAIRS, pem

pytestmark = pytest.mark.anyio

SECRET = "a secret that has more bytes than its hash, which are sixty-four."
NOW = 1_800_000_000.0


class Fixed:
    """A source with these keys."""

    max_age_s = 600.0

    def __init__(self, *keys: Key) -> None:
        self._keys = list(keys)

    def load(self) -> list[Key]:
        return self._keys


def tokens(*keys: Key, **more: Any) -> Tokens:
    keys = keys or tuple(read_keys(SECRET.encode()))
    return Tokens(Signers(Fixed(*keys), Clock()), wall=Clock(NOW), **more)


def signed(claims: dict[str, Any] | None = None, algorithm: str = "HS256", key: Any = SECRET, kid: str = "") -> str:
    """A token of zoe's, unless the claims say otherwise."""
    return jwt.encode({"sub": "zoe", **(claims or {})}, key, algorithm, {"kid": kid} if kid else None)


async def refusal(token: str, reading: Tokens | None = None) -> str:
    with pytest.raises(BadToken) as refused:
        await (reading or tokens()).grant(token)
    return str(refused.value)


# Signatures


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_token_signed_with_the_secret_is_good(algorithm: str) -> None:
    token = signed({}, algorithm)
    assert await tokens().grant(token) == Grant("zoe", digest(token.rpartition(".")[0]), is_kept=False)
    assert is_jwt(token)
    assert not is_jwt("Xu3jKe-_9")


@pytest.mark.parametrize("algorithm", list(PAIRS))
async def test_a_token_signed_with_the_private_key_is_good(algorithm: str) -> None:
    reading = tokens(*read_keys(pem(algorithm)))
    assert (await reading.grant(signed({}, algorithm, PAIRS[algorithm]))).user == "zoe"


async def test_a_token_of_another_key_is_refused() -> None:
    assert "no key that is known" in await refusal(signed(key="y" * 64))


@pytest.mark.parametrize("algorithm", list(PAIRS))
async def test_the_key_says_the_algorithm_and_not_the_token(algorithm: str) -> None:
    """The public key, which anybody has, as the secret of an HMAC; another algorithm; and none at all."""
    public = pem(algorithm)
    reading = tokens(*read_keys(public))
    for forged in (forge("HS256", public), forge("HS256", public.strip()), forge("none", b""), forge("None", b"")):
        assert "no key that is known" in await refusal(forged, reading)
    for other in PAIRS.keys() - {algorithm}:
        assert "no key that is known" in await refusal(signed({}, other, PAIRS[other]), reading)
    assert "no key that is known" in await refusal(forge("none", b""))
    for other, pair in PAIRS.items():
        assert "no key that is known" in await refusal(signed({}, other, pair))


def forge(algorithm: str, secret: bytes) -> str:
    """A token as somebody makes it who is not held to what libraries allow."""
    head, body = (part(json.dumps(each).encode()) for each in ({"alg": algorithm, "typ": "JWT"}, {"sub": "admin"}))
    signature = hmac.digest(secret, f"{head}.{body}".encode(), hashlib.sha256) if secret else b""
    return f"{head}.{body}.{part(signature)}"


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_a_key_for_the_shorter_hash_is_not_for_the_longer_one() -> None:
    key = b"x" * 32
    reading = tokens(*read_keys(key))
    assert await reading.grant(signed({}, "HS256", key))
    assert await refusal(forge("HS512", key), reading)


async def test_a_token_names_its_key() -> None:
    reading = tokens(*(Key(name, name.encode() * 32, ("HS256",)) for name in "ab"))
    assert await reading.grant(signed(key=b"b" * 32, kid="b"))
    assert await reading.grant(signed(key=b"b" * 32))
    assert await refusal(signed(key=b"b" * 32, kid="a"), reading)


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a.b.c",
        "\x00.\x00.\x00",
        "é.é.é",
        part(b"[" * 5000) + ".a.b",
        part(b'{"alg":1}') + ".a.b",
        "x" * 9000 + "..",
    ],
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    assert await refusal(token)


# Claims


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"sub": None}, "it has no `sub`"),
        ({"sub": ""}, "1 to 128 characters"),
        ({"sub": "a\nb"}, "control characters"),
        ({"sub": "x" * 129}, "1 to 128 characters"),
        ({"sub": 7}, "its `sub`, the user's name, is not a string"),
        ({"exp": NOW - 5}, "has expired"),
        ({"exp": "soon"}, "no number of seconds"),
        ({"exp": True}, "no number of seconds"),
        ({"exp": float("inf")}, "no JSON object"),
        ({"exp": 10**400}, "no number of seconds"),
        ({"nbf": -(10**400)}, "no number of seconds"),
        ({"nbf": NOW + 6}, "not to be used yet"),
        ({"nbf": []}, "no number of seconds"),
        ({"aud": "another"}, "udience"),
    ],
)
async def test_claims_are_checked(claims: dict[str, Any], sentence: str) -> None:
    assert sentence in await refusal(signed(claims))


async def test_times_have_some_leeway_and_the_end_is_told() -> None:
    grant = await tokens().grant(signed({"exp": NOW - 4.9, "nbf": NOW + 5}))
    assert grant.expires_at == NOW - 4.9


async def test_who_it_is_for_and_by_is_asked_where_the_settings_say_it() -> None:
    reading = tokens(audience="chat", issuer="https://id.example")
    good = {"aud": ["mail", "chat"], "iss": "https://id.example"}
    assert await reading.grant(signed(good))
    for wrong in ({"aud": "mail"}, {"aud": None}, {"iss": "https://evil.example"}, {"iss": None}):
        claims = {name: value for name, value in (good | wrong).items() if value is not None}
        assert await refusal(signed(claims), reading)


async def test_roles_and_notes_come_from_claims_by_a_setting() -> None:
    reading = tokens(role_claim="https://example.com/role", info_claim="profile")
    claims = {"https://example.com/role": "guest", "profile": {"team": "sales"}}
    grant = await reading.grant(signed(claims))
    assert (grant.role, grant.info) == (Role.GUEST, {"team": "sales"})
    several = {"https://example.com/role": ["editor", "member", "admin"], "profile": "sales"}
    grant = await reading.grant(signed(several))
    assert (grant.role, grant.info) == (Role.ADMIN, {"profile": "sales"})
    grant = await reading.grant(signed({"https://example.com/role": "editor"}))
    assert (grant.role, grant.info) == (None, None)
    plain = await tokens().grant(signed(claims | {"role": "admin"}))
    assert (plain.role, plain.info) == (None, None)
    assert "more than 4096 bytes" in await refusal(signed({"profile": "x" * 5000}), reading)
    assert "no JSON object" in await refusal(signed({"profile": "\ud800"}), reading)


# Settings


def test_there_are_none_without_a_key() -> None:
    assert tokens_for(Settings(), time.time) is None
    assert tokens_for(Settings(jwt_key=SECRET), time.time) is not None
    with pytest.raises(ConfigError, match="too short"):
        tokens_for(Settings(jwt_key="short"), time.time)


async def test_without_keys_a_token_is_answered_to_come_again() -> None:
    class Down:
        max_age_s = 600.0

        def load(self) -> list[Key]:
            raise OSError("out of reach")

    with pytest.raises(Refused, match="unavailable"):
        await Tokens(Signers(Down(), Clock())).grant(signed())
