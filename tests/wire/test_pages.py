"""The pages over HTTP: compressed or not, whole or known, below a version or not; and the CA for others."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from servers import ServerProcess, running
from wire.raw_clients import DEADLINE_S, Answer, Raw, ask

NAME = "chat.example.com"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that others know by a name."""
    with running(tmp_path_factory.mktemp("named"), "--name", NAME, tls=True) as server:
        yield server


def get(server: ServerProcess, path: str, coding: str = "identity", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(server, "GET", path, headers={"Accept-Encoding": coding} | named)


def loaded(server: ServerProcess) -> list[str]:
    """The paths that the page loads: it names them as they are from where it is."""
    page = get(server, "/").body.decode()
    named = re.findall(r'<(?:link|script|img)\b[^>]*(?:href|src)="([^"]+)"', page)
    return [urljoin("/", path) for path in named]


# Codings


@pytest.mark.parametrize("path", ["/", "/web/app.js"])
def test_who_takes_gzip_gets_it_and_others_get_the_same(server: ServerProcess, path: str) -> None:
    plain, zipped = get(server, path), get(server, path, "gzip, deflate, br, zstd")
    assert gzip.decompress(zipped.body) == plain.body
    assert len(zipped.body) < len(plain.body) / 2
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Content-Encoding"] is None
    assert plain.headers["Vary"] == zipped.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["Content-Type"] == zipped.headers["Content-Type"]


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_head_has_the_headers_of_get_and_no_body(server: ServerProcess, coding: str) -> None:
    with Raw(server) as raw:
        for method in (b"HEAD", b"GET"):
            raw.send(b"%b / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: %b\r\n\r\n" % (method, coding.encode()))
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, rest = raw.read_to_end().split(b"\r\n\r\n", 1)
    dateless = [line for line in head.split(b"\r\n") if not line.startswith(b"Date:")]
    [length] = re.findall(rb"Content-Length: (\d+)", head)
    again, body = rest.split(b"\r\n\r\n", 1)
    assert [line for line in again.split(b"\r\n") if not line.startswith(b"Date:")] == dateless
    assert body[int(length) :].startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_who_has_a_file_is_told_so(server: ServerProcess, coding: str) -> None:
    whole = get(server, "/", coding)
    known = get(server, "/", coding, If_None_Match=whole.headers["ETag"])
    assert (known.status, known.body) == (304, b"")
    assert known.headers["ETag"] == whole.headers["ETag"]
    assert known.headers["Vary"] == "Accept-Encoding"
    assert known.headers["Content-Length"] is None
    other = "identity" if coding == "gzip" else "gzip"
    assert get(server, "/", other, If_None_Match=whole.headers["ETag"]).status == 200


@pytest.mark.parametrize("coding", [",".join(["br;q=0.1"] * 900), "gzip;q=" + "0" * 7000, "\xff, gzip;;;", "*;q=0"])
def test_an_odd_accept_encoding_gets_the_page_as_it_is(server: ServerProcess, coding: str) -> None:
    answer = get(server, "/", coding)
    assert answer.status == 200
    assert answer.headers["Content-Encoding"] is None


# What the page loads


def test_all_that_the_page_loads_is_there_to_be_kept(server: ServerProcess) -> None:
    paths = loaded(server)
    kept = [path for path in paths if path.startswith("/v/")]
    assert any("/whole/" in path for path in kept)
    for path in kept:
        answer = get(server, path, "gzip")
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert [path for path in paths if path not in kept and get(server, path).status != 200] == []


def test_a_page_of_another_version_finds_its_files(server: ServerProcess) -> None:
    answer = get(server, f"/v/{'0' * 16}/web/app.js")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
    assert get(server, f"/v/{'0' * 16}/web/gone.js").status == 404


def test_the_styles_in_the_page_are_allowed(server: ServerProcess) -> None:
    answer = get(server, "/")
    assert_styled(answer)


def assert_styled(page: Answer) -> None:
    """The policy of a page lets its style in by its digest."""
    [style] = re.findall(rb"<style>(.*?)</style>", page.body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]


# The CA


def test_others_trust_it_by_its_name(named: ServerProcess) -> None:
    assert named.tls is not None
    with (
        socket.create_connection(("127.0.0.1", named.port), DEADLINE_S) as sock,
        named.tls.wrap_socket(sock, server_hostname=NAME) as secure,
    ):
        secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % NAME.encode())
        assert secure.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_the_ca_is_there_with_its_fingerprint_and_without_its_key(named: ServerProcess) -> None:
    [file] = re.findall(r"trust its CA: (.+)", named.log())
    [fingerprint] = re.findall(r"fingerprint \(SHA-256\): (.+)", named.log())
    for path in ("/ca.pem", "/ca.crt"):
        answer = get(named, path)
        assert answer.headers["Content-Type"] == "application/x-x509-ca-cert"
        assert answer.body == Path(file).read_bytes()
        der = ssl.PEM_cert_to_DER_cert(answer.body.decode())
        assert hashlib.sha256(der).hexdigest() == fingerprint.replace(":", "").lower()
        assert b"KEY" not in answer.body
    page = get(named, "/ca")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert fingerprint in page.body.decode().replace("<wbr>", "")
    assert b"<script" not in page.body
    assert_styled(page)


@pytest.mark.parametrize("path", ["/ca", "/ca.pem", "/ca.crt"])
def test_without_a_ca_of_our_own_there_is_none(server: ServerProcess, path: str) -> None:
    assert get(server, path).status == 404


@pytest.mark.parametrize("path", ["/ca.key", "/localhost.pem", "/localhost.key"])
def test_no_key_can_be_read(named: ServerProcess, path: str) -> None:
    assert get(named, path).status == 404
