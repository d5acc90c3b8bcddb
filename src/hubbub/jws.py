"""Signed tokens (JSON Web Signature, RFC 7515, in its compact form): what they say, once a key was found for them.

A key says how it is used, and never the token: see `signers`.
"""

from __future__ import annotations

import binascii
import hmac
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import jwt
import msgspec

from hubbub.signers import Key

__all__ = ["BadToken", "Signed", "decode_claims", "is_for", "moment", "payload_by", "read_signed"]

# Three parts in base64url, which some write with its padding.
_compact = re.compile(r"(?:[\w-]+={0,2}\.){2}[\w-]*={0,2}", re.ASCII)

# Those that sign with a secret (RFC 7518 section 3.2), with the names of their hashes.
HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


class BadToken(Exception):
    """A token stands for nobody; the text says why."""


class Header(msgspec.Struct, frozen=True):
    """What is read of a token's header; a name that has to be understood (`crit`) is none that is."""

    alg: str
    kid: str | None = None
    crit: Any = None


class Signed(NamedTuple):
    """A token whose signature is not verified yet.

    Attributes:
        key_id: the name of its key, as it says.
        content: what is signed.
    """

    algorithm: str
    key_id: str | None
    content: bytes
    payload: bytes
    signature: bytes


decode_header = msgspec.json.Decoder(Header).decode
decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def read_signed(token: str, most: int) -> Signed:
    """Read a token.

    Args:
        most: characters that it may have.

    Raises:
        BadToken: it is none.
    """
    if len(token) > most:
        raise BadToken(f"it has more than {most} characters")
    if not _compact.fullmatch(token):
        raise BadToken("it cannot be read: a token has three parts in base64url, with a dot between them")
    content, _, signature = token.rpartition(".")
    head, _, body = content.partition(".")
    try:
        header = decode_header(decoded(head))
        signed = Signed(header.alg, header.kid, content.encode(), decoded(body), decoded(signature))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadToken("it cannot be read: its header is JSON with `alg`, all of it is in base64url") from None
    if header.crit is not None:
        raise BadToken("its header has `crit`, and nothing of that is understood here")
    return signed


def decoded(part: str) -> bytes:
    """The bytes of a part of a token."""
    text = part.rstrip("=").replace("-", "+").replace("_", "/")  # a sixth of what `str.translate` takes
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)


def payload_by(signed: Signed, keys: Iterable[Key]) -> bytes:
    """What a token says that one of some keys has signed.

    Args:
        keys: those that may have; each is tried only by an algorithm that it is for.

    Raises:
        BadToken: none of them has.
    """
    for key in keys:
        if signed.algorithm in key.algorithms and is_by(signed, key.value):
            return signed.payload
    raise BadToken("no key that is known here has signed it, or not by the algorithm that the key is for")


def is_by(signed: Signed, key: Any) -> bool:
    """Whether a key has signed a token, by the token's algorithm, which is one of the key's."""
    of_secret = HASHES.get(signed.algorithm)
    if of_secret is not None:  # faster than by the library
        return hmac.compare_digest(hmac.digest(key, signed.content, of_secret), signed.signature)
    return bool(jwt.get_algorithm_by_name(signed.algorithm).verify(signed.content, key, signed.signature))


def decode_claims(payload: bytes) -> dict[str, Any]:
    """The claims of a token (RFC 7519).

    Raises:
        BadToken: they are no JSON object.
    """
    try:
        return decode_object(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise BadToken("what is signed is no JSON object") from None


def is_for(found: object, audience: str) -> bool:
    """Whether a claim `aud` is an audience, or has it in its list (RFC 7519 section 4.1.3)."""
    return found == audience or (isinstance(found, list) and audience in found)


def moment(found: object, name: str) -> float | None:
    """A claim that is a time, in seconds since 1970; None without it.

    Args:
        name: what the claim is called.

    Raises:
        BadToken: it is no finite number.
    """
    if found is None:
        return None
    try:
        seconds = math.nan if isinstance(found, bool) or not isinstance(found, int | float) else float(found)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise BadToken(f"its `{name}` is no number of seconds")
    return seconds
