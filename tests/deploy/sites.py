"""The examples of proxies, brought to this machine: free ports, a certificate made here, a folder of the test's."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.tools import DEPLOY, found
from hubbub.cluster.child import GuardedProcess
from hubbub.cluster.port import HOST

__all__ = ["NAME", "Site", "caddy_site", "nginx_site", "serving_site"]

# The name in the examples.
NAME = "chat.example.org"

# The parts of nginx's configuration that a system has, and the examples do not.
NGINX = """
daemon off;
master_process off;
error_log stderr;
pid {folder}/nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {site};
}}
"""

CADDY = """{{
	admin off
	skip_install_trust
	auto_https disable_redirects
}}

{site}
"""


@dataclass(frozen=True)
class Site:
    """A proxy that can be started.

    Attributes:
        command: what starts it.
        config: its configuration.
        folder: where it may write.
    """

    command: Sequence[str]
    config: Path
    folder: Path


def nginx_site(folder: Path, *, port: int, targets: Sequence[int], changes: Sequence[tuple[str, str]] = ()) -> Site:
    """nginx with the example; `changes` are replaced in it."""
    chain, key = certificate(folder)
    servers = "\n".join(f"    server {HOST}:{target};" for target in targets)
    text = changed(
        (DEPLOY / "nginx.conf").read_text(),
        ("    listen 443 ssl;", f"    listen {HOST}:{port} ssl;"),
        ("    listen [::]:443 ssl;\n", ""),
        ("    listen 80;", f"    listen unix:{folder}/http.sock;"),
        ("    listen [::]:80;\n", ""),
        ("/etc/ssl/hubbub/fullchain.pem", str(chain)),
        ("/etc/ssl/hubbub/privkey.pem", str(key)),
        ("    server 127.0.0.1:8080;", servers),
        *changes,
    )
    site, config = folder / "site.conf", folder / "nginx.conf"
    site.write_text(text)
    config.write_text(NGINX.format(folder=folder, site=site))
    return Site([found("nginx"), "-c", str(config), "-p", str(folder)], config, folder)


def caddy_site(folder: Path, *, port: int, targets: Sequence[int], changes: Sequence[tuple[str, str]] = ()) -> Site:
    """Caddy with the example; `changes` are replaced in it."""
    chain, key = certificate(folder)
    text = changed(
        (DEPLOY / "Caddyfile").read_text(),
        (f"\n{NAME} {{\n", f"\nhttps://{NAME}:{port} {{\n\tbind {HOST}\n\ttls {chain} {key}\n"),
        ("reverse_proxy 127.0.0.1:8080", f"reverse_proxy {' '.join(f'{HOST}:{target}' for target in targets)}"),
        *changes,
    )
    config = folder / "Caddyfile"
    config.write_text(CADDY.format(site=text))
    return Site([found("caddy"), "run", "--adapter", "caddyfile", "--config", str(config)], config, folder)


def changed(text: str, *changes: tuple[str, str]) -> str:
    """A text with each change made, once; what is to be replaced is there."""
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the example"
        text = text.replace(old, new)
    return text


@contextmanager
def serving_site(site: Site) -> Iterator[Path]:
    """A proxy that runs; its log."""
    log = site.folder / "proxy.log"
    child = GuardedProcess(site.command, log, env={"HOME": str(site.folder), "PATH": "/usr/bin:/bin"}, cwd=site.folder)
    try:
        yield log
    finally:
        child.kill()


def certificate(folder: Path) -> tuple[Path, Path]:
    """The files of a certificate for `NAME` and of its key."""
    chain, file = folder / "chain.pem", folder / "key.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return chain, file
