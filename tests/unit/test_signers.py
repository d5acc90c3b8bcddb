"""Whose signatures are believed: keys from a secret, a file or a URL, and loading them again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hubbub import signers as signers_module
from hubbub.errors import ConfigError
from hubbub.signers import Key, Signers, read_jwks, read_keys, source_of
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio

PAIRS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def pem(algorithm: str) -> bytes:
    text: bytes = PAIRS[algorithm].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text


def jwk(algorithm: str, **more: object) -> dict[str, object]:
    """A public key as a member of a JWKS."""
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(PAIRS[algorithm].public_key())
    return {**json.loads(made), **more}


def jwks(*keys: dict[str, object]) -> bytes:
    return json.dumps({"keys": keys}).encode()


# Keys, and what each is for


@pytest.mark.parametrize(
    ("length", "algorithms"),
    [(32, ("HS256",)), (47, ("HS256",)), (48, ("HS256", "HS384")), (64, ("HS256", "HS384", "HS512"))],
)
def test_a_secret_is_for_the_hashes_that_it_is_long_enough_for(length: int, algorithms: tuple[str, ...]) -> None:
    [key] = source_of("x" * length).load()
    assert (key.id, key.algorithms) == (None, algorithms)


@pytest.mark.parametrize("algorithm", list(PAIRS))
def test_a_public_key_is_for_one_algorithm(algorithm: str, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(pem(algorithm) + b"\n")
    [key] = source_of(str(tmp_path / "key.pem")).load()
    assert key.algorithms == (algorithm,)


def test_a_file_may_have_a_secret_or_a_jwks(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 32 + b"\n")
    [key] = source_of(str(tmp_path / "secret")).load()
    assert key.value == b"s" * 32
    (tmp_path / "jwks.json").write_bytes(jwks(jwk("RS256", kid="one"), jwk("EdDSA", kid="two", alg="EdDSA")))
    keys = source_of(str(tmp_path / "jwks.json")).load()
    assert [(key.id, key.algorithms) for key in keys] == [("one", ("RS256",)), ("two", ("EdDSA",))]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"short", "5 bytes is too short"),
        (b"{}", "is no JWKS"),
        (b'{"keys":[]}', "none of its keys is of use"),
        (b"{" * 10_000, "is no JWKS"),
        (b"-----BEGIN PUBLIC KEY-----\nrubbish", "--jwt-key"),
        (b"x" * (300 << 10), "more than 262144 bytes"),
        (b"text before\n-----BEGIN PUBLIC KEY-----", "within other text"),
    ],
)
def test_a_file_of_no_use_is_refused_with_what_would_be(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        source_of(str(tmp_path / "key"))
    assert sentence in str(refused.value)
    assert "right is a secret of 32 bytes or more" in str(refused.value)


def test_keys_that_nobody_should_use_are_refused() -> None:
    private = PAIRS["RS256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    small = rsa.generate_private_key(65537, 1024).public_key()
    curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    pems = [key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in (small, curve)]
    for text, sentence in ((private, "private key"), (pems[0], "1024 bits"), (pems[1], "secp384r1")):
        with pytest.raises(ValueError, match=sentence):
            read_keys(text)


def test_a_short_secret_and_keys_by_http_are_refused_and_the_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match="6 bytes is too short for HS256") as refused:
        source_of("secret")
    assert "secret of 6" in str(refused.value)
    assert "'secret'" not in str(refused.value)
    with pytest.raises(ConfigError, match="right is https"):
        source_of("http://keys.example/jwks.json")


def test_of_a_jwks_only_keys_for_signatures_of_kinds_that_are_taken_count() -> None:
    found = read_jwks(
        jwks(
            jwk("RS256", kid="for secrecy", use="enc"),
            jwk("RS256", kid="another algorithm", alg="PS256"),
            {"kty": "RSA", "kid": "broken"},
            {"kty": ["RSA"], "kid": "odd"},
            {"kty": "oct", "k": "c2hvcnQ", "kid": "short"},
            jwk("ES256", kid=7),
            jwk("ES256", kid="good", use="sig", alg="ES256"),
        )
    )
    assert [key.id for key in found] == [None, "good"]


# Loading again


class Changing:
    """A source whose keys change, and that can be out of reach."""

    max_age_s = 600.0

    def __init__(self, *ids: str | None) -> None:
        self.ids = ids
        self.loads = 0
        self.is_down = False

    def load(self) -> list[Key]:
        self.loads += 1
        if self.is_down:
            raise OSError("out of reach")
        return [Key(id_, b"", ("HS256",)) for id_ in self.ids]


async def names(signers: Signers, id_: str | None, algorithm: str = "HS256") -> list[str | None]:
    return [key.id for key in await signers.keys_for(id_, algorithm)]


async def test_a_token_is_tried_with_the_key_that_it_names() -> None:
    signers = Signers(Changing("one", "two"), Clock())
    assert await names(signers, "two") == ["two"]
    assert await names(signers, None) == ["one", "two"]
    assert await names(signers, "two", "RS256") == []
    assert await names(Signers(Changing(None), Clock()), "whatever") == [None]


async def test_an_unknown_name_has_the_keys_loaded_again_now_and_then() -> None:
    clock, source = Clock(), Changing("old")
    signers = Signers(source, clock)
    assert await names(signers, "old") == ["old"]
    source.ids = ("old", "new")
    assert await names(signers, "new") == []
    clock.go(30)
    assert await asyncio.gather(*(names(signers, "new") for _ in range(5))) == [["new"]] * 5
    for guess in range(100):
        assert await names(signers, f"guess {guess}") == []
    assert source.loads == 2


async def test_old_keys_stay_while_the_source_is_out_of_reach_and_go_when_it_says_so() -> None:
    clock, source = Clock(), Changing("old")
    signers = Signers(source, clock)
    assert await names(signers, "old") == ["old"]
    source.is_down = True
    for _ in range(3):
        clock.go(600)
        assert await names(signers, "unknown") == []
        assert await names(signers, "old") == ["old"]
    source.is_down, source.ids = False, ("new",)
    clock.go(600)
    assert await names(signers, "old") == ["old"], "it is not waited for"
    while source.loads < 5:
        await asyncio.sleep(0)
    assert await names(signers, "new") == ["new"]
    assert await names(signers, "old") == []


async def test_without_any_key_it_cannot_be_told() -> None:
    source = Changing("one")
    source.is_down = True
    signers = Signers(source, clock := Clock())
    for _ in range(2):
        with pytest.raises(OSError, match="could not be loaded"):
            await signers.keys_for("one", "HS256")
    assert source.loads == 1
    source.is_down = False
    clock.go(30)
    assert await names(signers, "one") == ["one"]


async def test_nobody_waits_long_for_keys_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signers_module, "WAIT_S", 0.0)
    source, goes_on = Changing("one"), threading.Event()
    load = source.load
    monkeypatch.setattr(source, "load", lambda: goes_on.wait() and load())
    signers = Signers(source, Clock())
    for _ in range(2):
        with pytest.raises(OSError, match="could not be loaded"):
            await signers.keys_for("one", "HS256")
    goes_on.set()
    monkeypatch.setattr(signers_module, "WAIT_S", 10.0)
    assert await names(signers, "one") == ["one"]
    assert source.loads == 1, "it was under way"


async def test_any_failure_to_load_leaves_the_keys_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    signers = Signers(source := Changing("one"), clock := Clock())
    assert await names(signers, "one") == ["one"]
    monkeypatch.setattr(source, "load", lambda: 1 / 0)
    clock.go(30)
    assert await names(signers, "unknown") == []
    assert await names(signers, "one") == ["one"]


# Over HTTP


class KeyServer:
    """A server on the loopback address whose answer is set."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(outer.status)
                if outer.status == 302:
                    self.send_header("Location", outer.url)
                with contextlib.suppress(OSError):  # it is not waited for
                    if outer.drips:
                        self.flush_headers()
                        for byte in b"Slow: %b\r\n" % (b"x" * 200):
                            self.wfile.write(bytes([byte]))
                            time.sleep(0.01)
                    self.end_headers()
                    self.wfile.write(outer.body)

            def log_message(self, *_args: object) -> None: ...

        self.status, self.body, self.drips = 200, b"", False
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    server = KeyServer()
    yield server
    server.stop()


def test_keys_come_from_a_url(key_server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(key_server.url)
    key_server.body = jwks(jwk("ES256", kid="one"))
    assert [key.id for key in source.load()] == ["one"]
    key_server.body = b" " * (300 << 10)
    with pytest.raises(ValueError, match="more than 262144 bytes"):
        source.load()
    for status in (302, 404, 500):
        key_server.status = status
        with pytest.raises(OSError, match=str(status)):
            source.load()
    key_server.status, key_server.body = 200, jwks(jwk("ES256"))
    monkeypatch.setattr(signers_module, "FETCH_S", 0.5)
    key_server.drips = True
    with pytest.raises(OSError, match=r"tim|too long"):
        source.load()
    key_server.drips = False
    monkeypatch.setattr(signers_module, "FETCH_S", 1e-9)
    with pytest.raises(OSError, match=r"tim|too long|progress"):
        source.load()
