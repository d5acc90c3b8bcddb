"""The local certificate: a CA of this machine's own, and a leaf that it issues for this machine's names.

Both are made once, in the data folder, and renewed before they expire.  A browser that trusts the CA file trusts the
server; until then it shows its warning, and the fingerprint printed at start is there to compare.

The CA is good for this machine's names alone (RFC 5280 section 4.2.1.10): its stolen key makes no certificate of a
bank for those who trust it.  Where other machines can connect, it is good for all addresses of private networks too,
because this machine's changes there, and nobody would trust a new CA each time.  A CA without such constraints, or one
whose constraints lack a name, is replaced, and has to be trusted anew.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hubbub.addresses import PRIVATE, Network
from hubbub.errors import ConfigError

__all__ = ["Certificate", "Names", "load_context", "local_certificate", "local_names"]

CA_LIFE = datetime.timedelta(days=3650)
# Browsers take no leaf that lives longer than 398 days.
LEAF_LIFE = datetime.timedelta(days=365)
RENEW_BEFORE = datetime.timedelta(days=30)


class Names(NamedTuple):
    """What a local certificate is for.

    Attributes:
        wanted: names and addresses that it must have; a CA that may not vouch for one of them is replaced.
        seen: addresses of private networks that this machine has now.
        is_open: whether other machines can connect.
    """

    wanted: list[str]
    seen: Sequence[str] = ()
    is_open: bool = False

    @property
    def all(self) -> list[str]:
        """Names and addresses, each once."""
        return list(dict.fromkeys([*self.wanted, *self.seen]))


class Certificate(NamedTuple):
    """Where a certificate chain and its key are; for a local one also what is known of its CA.

    Attributes:
        fingerprint: the CA's, of SHA-256.
        is_ca_replaced: whether there was a CA before, which is not good any more.
    """

    chain: Path
    key: Path
    ca: Path | None = None
    fingerprint: str | None = None
    is_ca_replaced: bool = False


def local_names() -> list[str]:
    """The names and addresses by which this machine reaches itself."""
    return list(dict.fromkeys(["localhost", "127.0.0.1", "::1", socket.gethostname()]))


def local_certificate(folder: Path, names: Names, now: datetime.datetime) -> Certificate:
    """The certificate in `folder` for `names`: made when there is none, renewed when it is about to expire.

    Raises:
        ConfigError: the folder or a file in it cannot be read or written.
    """
    ca_file, ca_key_file = folder / "ca.pem", folder / "ca.key"
    leaf_file, leaf_key_file = folder / "localhost.pem", folder / "localhost.key"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(ca_key_file):
            ca = read_pair(ca_file, ca_key_file)
            is_replaced = ca is not None and not is_good_ca(ca[0], names, now)
            if ca is None or is_replaced:
                ca = new_ca(names, now)
                write_pair(ca_file, ca_key_file, ca)
            leaf = read_pair(leaf_file, leaf_key_file)
            if leaf is None or not is_good_leaf(leaf[0], ca[0], names, now):
                leaf = new_leaf(ca, names, now)
                write_pair(leaf_file, leaf_key_file, leaf)
    except OSError as error:
        raise ConfigError(f"--data-dir {folder}: the certificate cannot be kept there: {error.strerror}") from None
    fingerprint = ca[0].fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificate(leaf_file, leaf_key_file, ca_file, fingerprint, is_replaced)


@contextmanager
def locked(key_file: Path) -> Iterator[None]:
    """Let no other process renew a certificate meanwhile: workers do it at the same time.

    The key of the CA is what nobody else can open, and so cannot hold the lock of.  Where there is none yet, the first
    worker makes it, before there are others.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # none yet, or a filesystem that has no locks
            fcntl.flock(stack.enter_context(key_file.open("rb")), fcntl.LOCK_EX)
        yield


def load_context(certificate: Certificate) -> ssl.SSLContext:
    """A server's TLS 1.2+ context.

    Raises:
        ConfigError: a file cannot be read, is no PEM, or the key is another certificate's.
    """
    for flag, path in (("--tls-cert", certificate.chain), ("--tls-key", certificate.key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{flag} {path}: {error.strerror}; name a readable PEM file") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # The function keeps a key with a passphrase from asking for it on the terminal.
        context.load_cert_chain(certificate.chain, certificate.key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"--tls-key {certificate.key} is not the key of --tls-cert {certificate.chain}; name the pair"
            ) from None
        raise ConfigError(
            f"--tls-cert {certificate.chain} --tls-key {certificate.key}: not a PEM certificate and its unencrypted key"
        ) from None
    return context


Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def read_pair(certificate_file: Path, key_file: Path) -> Pair | None:
    """A certificate and its key; None when either is missing or broken."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    return certificate, key


def write_pair(certificate_file: Path, key_file: Path, pair: Pair) -> None:
    """Write both, each whole or not at all, the key readable by its owner alone."""
    certificate, key = pair
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_whole(key_file, pem, 0o600)
    write_whole(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Replace a file in one step."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)  # a killed process has left it, with whatever mode
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # whatever the umask is
        file.write(data)
    new.replace(path)


def new_ca(names: Names, now: datetime.datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Hubbub"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Hubbub local CA on {socket.gethostname()[:40]}"),
        ]
    )
    builder = (
        unsigned(name, name, key, now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(constraints(names), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def new_leaf(ca: Pair, names: Names, now: datetime.datetime) -> Pair:
    ca_certificate, ca_key = ca
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.wanted[0])])
    builder = (
        unsigned(subject, ca_certificate.subject, key, now, LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names.all]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    return builder.sign(ca_key, hashes.SHA256()), key


def unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, for a client whose clock is a little behind.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + life)
    )


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def constraints(names: Names) -> x509.NameConstraints:
    """What a CA for these names may issue certificates for; a DNS name includes those below it."""
    permitted: list[x509.GeneralName] = []
    for name in names.wanted:
        try:
            permitted.append(x509.IPAddress(ipaddress.ip_network(name)))
        except ValueError:
            permitted.append(x509.DNSName(name))
    if names.is_open:
        permitted += map(x509.IPAddress, PRIVATE)
    return x509.NameConstraints(permitted, excluded_subtrees=None)


def is_good_ca(ca: x509.Certificate, names: Names, now: datetime.datetime) -> bool:
    """Whether a CA may vouch for these names, but not for all, and will outlive the next leaf."""
    if ca.not_valid_after_utc < now + LEAF_LIFE + RENEW_BEFORE:
        return False
    try:
        permitted = ca.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except (x509.ExtensionNotFound, ValueError):
        return False
    blocks = set(map(x509.IPAddress, PRIVATE)) if names.is_open else set()
    if permitted is None or not blocks <= set(permitted):
        return False
    return all(is_within(name, permitted) for name in names.wanted)


def is_within(name: str, permitted: list[x509.GeneralName]) -> bool:
    """Whether a CA that is constrained so may vouch for a name or an address (RFC 5280 section 4.2.1.10)."""
    try:
        network = ipaddress.ip_network(name)
    except ValueError:
        domains = [each.value for each in permitted if isinstance(each, x509.DNSName)]
        return any(name == domain or name.endswith(f".{domain}") for domain in domains)
    networks = [each.value for each in permitted if isinstance(each, x509.IPAddress)]
    return any(is_part(network, each) for each in networks)


def is_part(network: Network, other: object) -> bool:
    """Whether a network is a part of another one, of the same version."""
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and network.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and network.subnet_of(other)


def is_good_leaf(leaf: x509.Certificate, ca: x509.Certificate, names: Names, now: datetime.datetime) -> bool:
    """Whether a leaf is this CA's, has all addresses and the DNS names alone, and will live a while."""
    if leaf.not_valid_after_utc < now + RENEW_BEFORE or leaf.issuer != ca.subject:
        return False
    try:
        leaf.verify_directly_issued_by(ca)
        covered = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:
        return False
    wanted = [general_name(name) for name in names.all]
    named = {name for name in wanted if isinstance(name, x509.DNSName)}
    return set(wanted) <= set(covered) and named == {name for name in covered if isinstance(name, x509.DNSName)}
