"""Tokens of the door: every wrong kind of them, and what good ones say."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hubbub import Refused
from hubbub.door import tokens as tokens_module
from hubbub.door.namespaces import Override
from hubbub.door.patterns import Expression
from hubbub.door.settings import DoorSettings, Hidden, TokenSettings
from hubbub.door.tokens import (
    MAX_TOKEN_CHARS,
    BadToken,
    ConnectionToken,
    DoorTokens,
    MisplacedToken,
    SubscriptionToken,
    TokenExpired,
    TokenSub,
)
from hubbub.otp import digest
from hubbub.signers import Key, read_jwks, wide_key
from hubbub.testing import Clock
from unit.test_signers import jwk, jwks
from unit.test_tokens import forge, part

pytestmark = pytest.mark.anyio

SECRET = "a secret that has more bytes than its hash, which are sixty-four."
NOW = 1_800_000_000.0

RSA = rsa.generate_private_key(65537, 2048)
CURVES: dict[str, Any] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}


def public(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def reading(tokens: TokenSettings | None = None, now: float = NOW, **more: Any) -> DoorTokens:
    tokens = tokens or TokenSettings(hmac_secret_key=Hidden(SECRET))
    settings = DoorSettings(**({"tokens": tokens, "subscription_tokens": tokens} | more))
    return DoorTokens(settings, Clock(now), Clock())


def signed(claims: dict[str, Any], algorithm: str = "HS256", key: Any = SECRET, **header: Any) -> str:
    return jwt.api_jws.encode(json.dumps(claims).encode(), key, algorithm, header)


def signed_text(payload: bytes) -> str:
    """A token with any payload, well signed."""
    return jwt.api_jws.encode(payload, SECRET, "HS256")


def nested(levels: int) -> object:
    """Lists within each other."""
    inner: object = 1
    for _ in range(levels):
        inner = [inner]
    return inner


async def refusal(asked: Awaitable[object]) -> str:
    with pytest.raises(BadToken) as refused:
        await asked
    return str(refused.value)


async def connect(claims: dict[str, Any], **more: Any) -> ConnectionToken:
    return await reading(**more).connection(signed(claims))


async def subscribe(claims: dict[str, Any], client: str = "", **more: Any) -> SubscriptionToken:
    return await reading(**more).subscription(signed({"sub": "42", "channel": "news"} | claims), "news", "42", client)


# Signatures


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("secret", [SECRET, "secret"])
@pytest.mark.filterwarnings("ignore:The HMAC key is")
async def test_a_secret_is_for_all_three_hashes_however_short(algorithm: str, secret: str) -> None:
    token = signed({"sub": "42"}, algorithm, secret)
    found = await reading(TokenSettings(hmac_secret_key=Hidden(secret))).connection(token)
    assert found == ConnectionToken("42", digest(token.rpartition(".")[0]))


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
async def test_an_rsa_key_is_for_its_three_hashes(algorithm: str) -> None:
    settings = TokenSettings(rsa_public_key=public(RSA))
    assert (await reading(settings).connection(signed({"sub": "42"}, algorithm, RSA))).user == "42"


@pytest.mark.parametrize("algorithm", list(CURVES))
async def test_a_curve_has_one_algorithm(algorithm: str) -> None:
    own = reading(TokenSettings(ecdsa_public_key=public(CURVES[algorithm])))
    assert (await own.connection(signed({"sub": "42"}, algorithm, CURVES[algorithm]))).user == "42"
    for other in CURVES.keys() - {algorithm}:
        assert "no key" in await refusal(own.connection(signed({"sub": "42"}, other, CURVES[other])))


@pytest.mark.parametrize(
    "settings",
    [
        TokenSettings(rsa_public_key=public(RSA)),
        TokenSettings(rsa_public_key=public(RSA), hmac_secret_key=Hidden(SECRET)),
        TokenSettings(ecdsa_public_key=public(CURVES["ES256"])),
        TokenSettings(hmac_secret_key=Hidden(SECRET)),
        TokenSettings(),
    ],
)
async def test_the_configuration_says_the_algorithm_and_not_the_token(settings: TokenSettings) -> None:
    """The public key, which anybody has, as the secret of an HMAC; an empty secret; and no signature at all."""
    own = reading(settings)
    for key in (settings.rsa_public_key, settings.ecdsa_public_key, settings.rsa_public_key.strip(), " "):
        for algorithm in ("HS256", "HS512"):
            if key:
                assert "no key" in await refusal(own.connection(forge(algorithm, key.encode())))
    for algorithm in ("none", "None", "NONE", "nOnE", "", "HS256", "RS256", "ES256", "EdDSA", "PS256", "hs256"):
        assert await refusal(own.connection(forge(algorithm, b"")))


async def test_a_token_cannot_name_its_key_or_where_it_is() -> None:
    attacker = rsa.generate_private_key(65537, 2048)
    own = reading(TokenSettings(rsa_public_key=public(RSA)))
    traps: tuple[dict[str, Any], ...] = (
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example"},
        {"jwk": jwk("RS256")},
        {},
    )
    for more in traps:
        for kid in ("", "../../../dev/null", "' OR 1=1 --", "\x00"):
            token = signed({"sub": "admin"}, "RS256", attacker, kid=kid, **more)
            assert "no key" in await refusal(own.connection(token))


async def test_the_previous_secret_is_good_until_its_time() -> None:
    settings = TokenSettings(hmac_secret_key=Hidden("n" * 64), hmac_previous_secret_key=Hidden(SECRET))
    token = signed({"sub": "42"})
    assert await reading(settings).connection(token)
    limited = msgspec.structs.replace(settings, hmac_previous_until=int(NOW))
    assert await reading(limited).connection(token)
    assert await refusal(reading(limited, NOW + 1).connection(token))
    assert await reading(limited, NOW + 1).connection(signed({"sub": "42"}, key="n" * 64))


async def test_a_jwks_is_used_in_place_of_other_keys_and_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        jwk("RS256", kid="one"),
        {"kty": "oct", "k": part(SECRET.encode()), "kid": "two"},
        json.loads(jwt.get_algorithm_by_name("ES384").to_jwk(CURVES["ES384"].public_key())) | {"kid": "three"},
    ]

    class Given:
        max_age_s = 600.0

        def __init__(self, _url: str, take: Any) -> None:
            self._take = take

        def load(self) -> list[Key]:
            return read_jwks(jwks(*keys), self._take)

    monkeypatch.setattr(tokens_module, "KeyUrl", Given)
    own = reading(TokenSettings(jwks_public_endpoint="https://id.example/jwks", hmac_secret_key=Hidden(SECRET)))
    assert await own.connection(signed({"sub": "42"}, "ES384", CURVES["ES384"], kid="three"))
    for kid in ("one", "two", "none"):
        assert "no key" in await refusal(own.connection(signed({"sub": "42"}, kid=kid)))
    assert "no key" in await refusal(own.connection(signed({"sub": "42"})))


async def test_keys_that_cannot_be_loaded_are_no_bad_token() -> None:
    settings = TokenSettings(jwks_public_endpoint="http://127.0.0.1:9/jwks")
    with pytest.raises(Refused) as refused:
        await reading(settings).connection(signed({"sub": "42"}))
    assert refused.value.code == "unavailable"


def test_a_wide_key_is_no_secret() -> None:
    with pytest.raises(ValueError, match="bytes is no kind of key"):
        wide_key(b"x" * 64)


# What is no token


@pytest.mark.parametrize(
    "token",
    [
        *("", ".", "..", "a.b", "a.b.c.d", "a.b.c", "\x00.\x00.\x00", "é.é.é", "a b.c.d", "=.=.=", "a\n.b.c"),
        part(b"[" * 5000) + ".a.b",
        part(b'{"alg":1}') + ".a.b",
        part(b'{"alg":"HS256","kid":7}') + ".a.b",
        part(b'{"alg":null}') + ".a.b",
        part(b"[]") + ".a.b",
        part(b"\xff") + ".a.b",
        "x" * (1 << 20),
        "x" * (1 << 19) + ".." + "y" * (1 << 19),
        "." * (1 << 20),
    ],
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    assert await refusal(reading().connection(token))
    assert await refusal(reading().subscription(token, "news", "42"))


async def test_a_header_that_has_to_be_understood_is_refused() -> None:
    assert "crit" in await refusal(reading().connection(signed({"sub": "42"}, crit=["b64"], b64=True)))


async def test_a_token_has_its_length() -> None:
    room = MAX_TOKEN_CHARS * 3 // 4 - 200
    assert "JSON" not in await refusal(reading().connection(signed({"sub": "42", "info": "x" * room})))
    assert "more than" in await refusal(reading().connection(signed({"sub": "42", "other": "x" * room * 2})))
    assert await reading().connection(signed({"sub": "42", "other": "x" * room}))


async def test_a_part_of_a_token_that_is_changed_spoils_it() -> None:
    token = signed({"sub": "42"})
    head, body, signature = token.split(".")
    others = [
        f"{head}.{part(json.dumps({'sub': '43'}).encode())}.{signature}",
        f"{part(json.dumps({'alg': 'HS512'}).encode())}.{body}.{signature}",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}.",
        f"{head}.{body}.{part(b'x' * 32)}",
    ]
    for other in others:
        assert "no key" in await refusal(reading().connection(other))


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"[]", b"null", b"7", b'"a"', b"{", b'{"sub":"a"', b"\xff", b'{"sub":"\xff"}', b'{"sub":"\\ud800"}'),
        b'{"exp":NaN}',
        b'{"exp":1e999}',
        b'{"info":' + b"[" * 8000 + b"]" * 8000 + b"}",
        b'{"other":' + b"[" * 8000 + b"]" * 8000 + b"}",
        b'{"info":' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}",
    ],
)
async def test_what_is_well_signed_and_no_claims_is_refused(payload: bytes) -> None:
    assert await refusal(reading().connection(signed_text(payload)))
    assert await refusal(reading().subscription(signed_text(payload), "news", "42"))


# Claims


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"sub": 42}, "sub"),
        ({"sub": ["42"]}, "sub"),
        ({"sub": {"a": 1}}, "sub"),
        ({"sub": True}, "sub"),
        ({"sub": "x" * 129}, "1 to 128 characters"),
        ({"sub": "a\nb"}, "control characters"),
        ({"exp": "1900000000"}, "`exp` is no number"),
        ({"exp": True}, "`exp` is no number"),
        ({"exp": [NOW + 9]}, "`exp` is no number"),
        ({"exp": 10**400}, "`exp` is no number"),
        ({"nbf": "soon"}, "`nbf` is no number"),
        ({"expire_at": "soon"}, "expire_at"),
        ({"expire_at": 1.5}, "expire_at"),
        ({"expire_at": 10**400}, "expire_at"),
        ({"info": "x" * 5000}, "`info` has more than 4096 bytes"),
        (
            {"info": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
            "more than 32 objects or lists",
        ),
        ({"b64info": "%%%"}, "`info` is no JSON"),
        ({"b64info": base64.b64encode(b"{").decode()}, "`info` is no JSON"),
        ({"b64info": 7}, "b64info"),
        ({"meta": "x" * 5000}, "`meta` has more than 4096 bytes"),
        ({"channels": "news"}, "channels"),
        ({"channels": [1]}, "channels"),
        ({"channels": ["c"] * 129}, "more than 128 channels"),
        ({"subs": ["news"]}, "subs"),
        ({"subs": {"news": 1}}, "subs"),
        ({"subs": {str(number): {} for number in range(129)}}, "more than 128 channels"),
        ({"subs": {"news": {"data": "x" * 5000}}}, "`data` has more than 4096 bytes"),
        ({"subs": {"news": {"override": {"presence": True}}}}, "presence"),
        ({"channel": "news"}, "for a subscription"),
    ],
)
async def test_a_connection_token_with_a_wrong_claim_is_refused(claims: dict[str, Any], sentence: str) -> None:
    assert sentence in await refusal(connect({"sub": "42"} | claims))


async def test_a_connection_token_says_all_that_it_may() -> None:
    found = await connect(
        {
            "sub": "42",
            "exp": NOW + 600,
            "iat": "whenever",
            "info": {"name": "Ann\n", "n": [1, 2.5]},
            "meta": {"tenant": 7},
            "subs": {
                "#42": {},
                "news": {
                    "info": {"a": 1},
                    "b64data": base64.b64encode(b' {"b":\n2} ').decode(),
                    "override": {"presence": {"value": True}, "force_recovery": {"value": False}, "other": 1},
                },
            },
            "channels": ["ignored"],
        }
    )
    assert (found.user, found.expires_at, found.meta) == ("42", NOW + 600, b'{"tenant":7}')
    assert found.info == b'{"name":"Ann\\n","n":[1,2.5]}'
    news = TokenSub(b'{"a":1}', b'{"b":2}', Override(presence=True, force_recovery=False))
    assert found.subs == {"#42": TokenSub(), "news": news}
    assert (await connect({"info": nested(32)})).info == b"[" * 32 + b"1" + b"]" * 32
    assert (await connect({"sub": "42", "channels": ["a", "b"]})).subs == {"a": TokenSub(), "b": TokenSub()}


async def test_what_others_read_is_one_line() -> None:
    """A frame has a command to a line: a line break within would end it."""
    token = signed_text(b'{"sub":"42",\n"info":{\n"a":\r\n[1,\t2]}}')
    assert (await reading().connection(token)).info == b'{"a":[1,2]}'
    assert (await reading().connection(signed_text(b'{"info":null,"meta":null}'))).info == b""


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"sub": None}])
async def test_a_token_without_a_user_is_anonymous(claims: dict[str, Any]) -> None:
    assert (await connect(claims)).user == ""
    assert "names no user" in await refusal(connect(claims, disallow_anonymous_tokens=True))


async def test_a_subscription_needs_a_token_of_its_own() -> None:
    assert await subscribe({}) == SubscriptionToken()
    assert "for no subscription" in await refusal(reading().subscription(signed({"sub": "42"}), "news", "42"))
    assert "for no subscription" in await refusal(subscribe({"channel": ""}))


@pytest.mark.parametrize("claims", [{"channel": "News"}, {"sub": "7"}, {"sub": ""}, {"sub": None}, {"client": "c1"}])
async def test_a_subscription_token_for_another_is_misplaced(claims: dict[str, Any]) -> None:
    with pytest.raises(MisplacedToken):
        await subscribe(claims)
    with pytest.raises(MisplacedToken):
        await subscribe(claims, client="c2")


async def test_a_subscription_token_may_be_for_one_connection() -> None:
    claims = {"client": "c1", "info": 1, "data": {"d": 2}, "exp": NOW + 9, "override": {"join_leave": {}}}
    found = await subscribe(claims, client="c1")
    assert found == SubscriptionToken(b"1", b'{"d":2}', NOW + 9, Override(join_leave=False))


async def test_a_subscription_token_of_a_wrong_signature_is_not_misplaced() -> None:
    with pytest.raises(BadToken) as refused:
        await reading().subscription(signed({"sub": "7", "channel": "news"}, key="y" * 64), "news", "42")
    assert not isinstance(refused.value, MisplacedToken)


async def test_subscriptions_may_have_keys_of_their_own() -> None:
    own = reading(subscription_tokens=TokenSettings(hmac_secret_key=Hidden("s" * 64)))
    claims = {"sub": "42", "channel": "news"}
    assert await own.subscription(signed(claims, key="s" * 64), "news", "42")
    assert await refusal(own.subscription(signed(claims), "news", "42"))
    assert await refusal(own.connection(signed({"sub": "42"}, key="s" * 64)))


# Times


@pytest.mark.parametrize(
    "claims",
    [
        *({"exp": NOW - 3600}, {"exp": NOW}, {"exp": 0}, {"exp": -1}, {"exp": NOW - 0.5}),
        *({"nbf": NOW + 3600}, {"nbf": 1e300}, {"expire_at": int(NOW) - 1}, {"exp": NOW - 1, "expire_at": 0}),
    ],
)
async def test_a_token_out_of_its_time_is_expired(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenExpired):
        await connect({"sub": "42"} | claims)
    with pytest.raises(TokenExpired):
        await subscribe(claims)


@pytest.mark.parametrize(
    ("claims", "expires_at"),
    [
        ({}, None),
        ({"exp": None}, None),
        ({"exp": NOW + 0.5}, NOW + 0.5),
        ({"exp": NOW + 9, "expire_at": 0}, None),
        ({"exp": NOW + 9, "expire_at": -1}, None),
        ({"exp": NOW + 9, "expire_at": int(NOW) + 99}, NOW + 99),
        ({"expire_at": int(NOW) + 99}, NOW + 99),
        ({"nbf": NOW + 4}, None),
        ({"nbf": NOW - 4, "iat": NOW + 99}, None),
    ],
)
async def test_what_a_token_opens_has_its_time(claims: dict[str, Any], expires_at: float | None) -> None:
    assert (await connect({"sub": "42"} | claims)).expires_at == expires_at
    assert (await connect({"sub": "42"} | claims, insecure=True)).expires_at is None
    assert (await subscribe(claims)).expires_at == expires_at


# Whom it is for, and whom it is from


def for_us(**more: Any) -> dict[str, Any]:
    return {"tokens": TokenSettings(hmac_secret_key=Hidden(SECRET), **more)}


async def test_audience_and_issuer_are_asked_for_where_they_are_set() -> None:
    assert await connect({"aud": "mail", "iss": "https://evil.example"})
    claims: dict[str, Any]
    for claims in ({"aud": "chat"}, {"aud": ["mail", "chat"]}):
        assert await connect(claims, **for_us(audience="chat"))
        assert await connect(claims, **for_us(audience_regex=Expression("^ch")))
    for wrong in ({}, {"aud": "mail"}, {"aud": ["mail"]}, {"aud": {"chat": 1}}, {"aud": [["chat"]]}, {"aud": 7}):
        assert "audience" in await refusal(connect(wrong, **for_us(audience="chat")))
        assert "audience" in await refusal(connect(wrong, **for_us(audience_regex=Expression("^ch"))))
    assert await connect({"iss": "https://id.example"}, **for_us(issuer="https://id.example"))
    assert await connect({"iss": "https://id.example"}, **for_us(issuer_regex=Expression(r"^https://id\.")))
    issuers: list[dict[str, Any]] = [{}, {"iss": "x"}, {"iss": ["https://id.example"]}, {"iss": None}]
    for claims in issuers:
        assert "issuer" in await refusal(connect(claims, **for_us(issuer="https://id.example")))
        assert "issuer" in await refusal(connect(claims, **for_us(issuer_regex=Expression(r"^https://id\."))))


async def test_the_user_may_be_in_another_claim() -> None:
    more = for_us(user_id_claim="uid")
    assert (await connect({"sub": "7", "uid": "42"}, **more)).user == "42"
    assert (await connect({"sub": "7", "uid": 42}, **more)).user == "42"
    assert (await connect({"sub": "7"}, **more)).user == ""
    for wrong in (["42"], {"a": 1}, True, 4.5, "x" * 129):
        assert "user" in await refusal(connect({"uid": wrong}, **more))


def test_secrets_are_not_shown() -> None:
    shown = repr(DoorSettings(tokens=TokenSettings(hmac_secret_key=Hidden(SECRET)), api_key=Hidden("key")))
    assert SECRET not in shown
    assert "'key'" not in shown
