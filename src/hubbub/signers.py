"""Whose signatures are believed: keys from a secret, a file or a URL, each with the algorithms that it is for.

A key alone says how it is used, and never the token (RFC 8725 section 3.1): a public key taken for the secret of an
HMAC, or no signature at all, is what that keeps out.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import jwt
import msgspec
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from hubbub.errors import ConfigError
from hubbub.fetching import fetch

__all__ = ["Key", "KeyUrl", "Signers", "check_key_url", "read_pem", "source_of", "wide_key"]

log = structlog.get_logger("hubbub")

# What is read of a file or a URL, and the keys that are taken from it.
MAX_BYTES = 256 << 10
MAX_KEYS = 100
# Keys that a token which names none is tried with.
MAX_TRIES = 8

FETCH_S = 5.0
# How long a token waits for keys since they began to be loaded, which a name that is looked up can make long.
WAIT_S = 10.0
# Keys are loaded again when a token names one that is not there, no more often than this; and those of a URL when they
# are this old, which is how long one that was taken back there may still be believed.
RELOAD_S = 30.0
MAX_AGE_S = 600.0

MIN_RSA_BITS = 2048
# An HMAC's key has at least as many bytes as its hash (RFC 7518 section 3.2).
HMACS = {"HS256": 32, "HS384": 48, "HS512": 64}
# What the kinds of public keys are for, and what a library is told that keys of a JWKS are: what reads them by.
USUAL = {"RSA": ("RS256",), "secp256r1": ("ES256",), "Ed25519": ("EdDSA",)}
ALL = {
    "RSA": ("RS256", "RS384", "RS512"),
    "Ed25519": ("EdDSA",),
    "secp256r1": ("ES256",),
    "secp384r1": ("ES384",),
    "secp521r1": ("ES512",),
}
JWK_ALGORITHMS = {
    "RSA": "RS256",
    "OKP": "EdDSA",
    "oct": "HS256",
    "P-256": "ES256",
    "P-384": "ES384",
    "P-521": "ES512",
}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

RIGHT = "right is a secret of 32 bytes or more, a public key in PEM (RSA, P-256 or Ed25519), or a JWKS"

decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Key(NamedTuple):
    """A key.

    Attributes:
        id: what a token calls it (`kid`); None where it has no name.
        algorithms: what it is for.
    """

    id: str | None
    value: Any
    algorithms: tuple[str, ...]


# What makes a key of one that was read, and its name.
Take = Callable[[object, str | None], Key]


class Source(Protocol):
    """Where keys come from."""

    # Seconds after which they are read again, as a token comes.
    max_age_s: float

    def load(self) -> list[Key]:
        """Read them.  It waits, and is for a thread.

        Raises:
            ValueError: there are none, or none of use; the text says why.
            OSError: it cannot be read.
        """
        ...


class Secret:
    """A secret that is written in the settings."""

    max_age_s = math.inf

    def __init__(self, text: str) -> None:
        self._keys = [secret_key(text.encode())]

    def load(self) -> list[Key]:
        return self._keys


class KeyFile:
    """A file with a secret, a public key or a JWKS."""

    max_age_s = RELOAD_S

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[Key]:
        with self._path.open("rb") as file:
            return read_keys(file.read(MAX_BYTES + 1))


class KeyUrl:
    """A URL with a JWKS."""

    max_age_s = MAX_AGE_S

    def __init__(self, url: str, take: Take | None = None) -> None:
        self._url = url
        self._take = take or own_key

    def load(self) -> list[Key]:
        return read_jwks(fetch(self._url, "application/json", FETCH_S, MAX_BYTES), self._take)


def source_of(text: str) -> Source:
    """Where the keys of a setting come from; what is in the settings or in a file is read once, to see that it is good.

    Raises:
        ConfigError: it cannot be used.
    """
    if text.startswith(("https://", "http://")):
        check_key_url(text, "--jwt-key")
        return KeyUrl(text)
    path = Path(text)
    try:
        if path.is_file():
            file = KeyFile(path)
            file.load()
            return file
    except ValueError as error:
        raise ConfigError(f"--jwt-key {text[:80]}: {error}; {RIGHT}") from None
    except OSError as error:
        if error.strerror != "File name too long":
            raise ConfigError(f"--jwt-key {text[:80]}: {error.strerror}") from None
    try:
        return Secret(text)
    except ValueError as error:
        # The text is a secret, if a poor one.
        message = f"--jwt-key: there is no such file, and {error}; {RIGHT}, or a file or https URL with it"
        raise ConfigError(message) from None


def check_key_url(url: str, name: str) -> None:
    """Refuse a URL whose keys somebody on the way may have put there.

    Args:
        name: the option that has it.

    Raises:
        ConfigError: it is not https, and not of this machine.
    """
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ConfigError(f"{name} {url}: keys that come by http are anybody's; right is https")


# Reading


def read_keys(data: bytes) -> list[Key]:
    """The keys of a file."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    text = data.strip()
    if text.startswith(b"{"):
        return read_jwks(text)
    if text.startswith(b"-----BEGIN"):
        return [public_key(read_pem(text))]
    return [secret_key(text)]


def secret_key(secret: bytes) -> Key:
    algorithms = tuple(name for name, least in HMACS.items() if len(secret) >= least)
    if not algorithms:
        raise ValueError(f"a secret of {len(secret)} bytes is too short for HS256")
    if b"-----BEGIN" in secret:
        raise ValueError("it has a key in PEM within other text")
    return Key(None, secret, algorithms)


def read_pem(text: bytes) -> object:
    """The public key of a PEM text, which may be a certificate's."""
    if b"PRIVATE KEY" in text:
        raise ValueError("it is a private key, which no server needs that only verifies")
    if text.startswith(b"-----BEGIN CERTIFICATE"):
        return x509.load_pem_x509_certificate(text).public_key()
    return load_pem_public_key(text)


def public_key(value: object, id_: str | None = None, algorithms: Mapping[str, tuple[str, ...]] = USUAL) -> Key:
    """A public key with what it is for.

    Args:
        algorithms: of each kind of key.
    """
    if isinstance(value, RSAPublicKey) and value.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key of {value.key_size} bits is too short, {MIN_RSA_BITS} are needed")
    match value:
        case RSAPublicKey():
            kind = "RSA"
        case EllipticCurvePublicKey():
            kind = value.curve.name
        case Ed25519PublicKey():
            kind = "Ed25519"
        case _:
            raise ValueError(f"{type(value).__name__} is no kind of key that is taken")
    if kind not in algorithms:
        raise ValueError(f"a key on {kind} is none of those that are taken")
    return Key(id_, value, algorithms[kind])


def wide_key(value: object, id_: str | None = None) -> Key:
    """A public key with everything that keys of its kind are for (RFC 7518 section 3.1); a secret is none."""
    return public_key(value, id_, ALL)


def own_key(value: object, id_: str | None = None) -> Key:
    """A public key or a secret."""
    return secret_key(value)._replace(id=id_) if isinstance(value, bytes) else public_key(value, id_)


def read_jwks(data: bytes, take: Take = own_key) -> list[Key]:
    """The keys of a JWKS (RFC 7517 section 5) that are for signatures; those of other kinds are passed over."""
    try:
        listed = decode_object(data).get("keys")
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"it is no JWKS: {error}") from None
    if not isinstance(listed, list):
        raise ValueError("it is no JWKS: an object with a list `keys`")  # noqa: TRY004  # of what is in the file
    found = [key for each in listed[:MAX_KEYS] if isinstance(each, dict) and (key := read_jwk(each, take)) is not None]
    if not found:
        raise ValueError("none of its keys is of use")
    return found


def read_jwk(jwk: Mapping[str, Any], take: Take) -> Key | None:
    """A key of a JWKS; None for one that is not for signatures, or of a kind that is not taken."""
    if jwk.get("use", "sig") != "sig":
        return None
    id_, named = jwk.get("kid"), jwk.get("alg")
    try:
        algorithm = JWK_ALGORITHMS[jwk["crv"] if jwk["kty"] == "EC" else jwk["kty"]]
        key = take(jwt.PyJWK(dict(jwk), algorithm).key, id_ if isinstance(id_, str) else None)
    except (KeyError, TypeError, ValueError, jwt.PyJWTError):
        return None
    algorithms = key.algorithms if named is None else tuple(each for each in key.algorithms if each == named)
    return key._replace(algorithms=algorithms) if algorithms else None


class Signers:
    """The keys that are there now.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._keys: list[Key] = []
        self._loading: asyncio.Task[None] | None = None
        self._tried_at: float | None = None

    async def keys_for(self, id_: str | None, algorithm: str) -> list[Key]:
        """The keys that a token may be signed with: the one that it names, or those without a name that fit it.

        Where it names none, and all keys have names, any of them may be meant.  None of them is for another algorithm.

        Raises:
            OSError: there are no keys, because they could not be loaded.
        """
        is_old = self._tried_at is None or self._clock() - self._tried_at >= self._source.max_age_s
        if self._keys and is_old:
            self._load()  # those that are there serve until then
        if not self._keys or not self._named(id_):
            await self._load_again()
        if not self._keys:
            raise OSError("the keys that tokens are signed with could not be loaded")
        return [key for key in self._named(id_) if algorithm in key.algorithms][:MAX_TRIES]

    def _named(self, id_: str | None) -> list[Key]:
        exact = [key for key in self._keys if key.id == id_]
        if exact:
            return exact
        return self._keys if id_ is None else [key for key in self._keys if key.id is None]

    async def _load_again(self) -> None:
        """Load the keys, unless that was tried a moment ago, and wait a while for it."""
        if self._loading is None and self._tried_at is not None and self._clock() - self._tried_at < RELOAD_S:
            return
        loading = self._load()
        assert self._tried_at is not None, "it has begun"
        await asyncio.wait({loading}, timeout=max(0.0, self._tried_at + WAIT_S - self._clock()))

    def _load(self) -> asyncio.Task[None]:
        """Begin to load the keys; at most once at a time."""
        if self._loading is None:
            self._tried_at = self._clock()
            self._loading = asyncio.get_running_loop().create_task(self._take())
        return self._loading

    async def _take(self) -> None:
        try:
            self._keys = await asyncio.to_thread(self._source.load)
        except Exception as error:  # such as a kind of key that the library does not know
            kept = len(self._keys)
            log.warning("the keys of tokens were not loaded; those that are there stay", error=str(error), keys=kept)
        finally:
            self._loading = None
