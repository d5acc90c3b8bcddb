"""The local certificate: made once, renewed in time, its keys for their owner alone."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from hubbub import certs
from hubbub.certs import Certificate, Names, load_context, local_certificate, new_leaf, read_pair, write_pair
from hubbub.errors import ConfigError

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
NAMES = Names(["localhost", "127.0.0.1", "::1", "box"])


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def serials(folder: Path) -> tuple[int, int]:
    return serial(folder / "ca.pem"), serial(folder / "localhost.pem")


def test_it_is_made_once(tmp_path: Path) -> None:
    made = local_certificate(tmp_path / "new" / "folder", NAMES, NOW)
    assert local_certificate(tmp_path / "new" / "folder", NAMES, NOW) == made
    assert {path.name: path.stat().st_mode & 0o777 for path in made.chain.parent.iterdir()} == {
        "ca.pem": 0o644,
        "ca.key": 0o600,
        "localhost.pem": 0o644,
        "localhost.key": 0o600,
    }


def test_one_looks_and_renews_it_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local_certificate(tmp_path, NAMES, NOW)
    done: list[str] = []

    def read(certificate_file: Path, key_file: Path) -> certs.Pair | None:
        with (tmp_path / "ca.key").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done.append(certificate_file.name)
        return read_pair(certificate_file, key_file)

    monkeypatch.setattr(certs, "read_pair", read)
    local_certificate(tmp_path, NAMES, NOW + certs.LEAF_LIFE)
    assert done == ["ca.pem", "localhost.pem"]
    with (tmp_path / "ca.key").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("umask", [0, 0o077])
def test_the_modes_of_its_files_are_the_same_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        made = local_certificate(tmp_path / "data", NAMES, NOW)
    finally:
        os.umask(before)
    assert made.ca is not None
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "data", made.key, tmp_path / "data" / "ca.key")] == [
        *(0o700, 0o600, 0o600)
    ]
    assert made.ca.stat().st_mode & 0o777 == 0o644


def test_a_file_that_a_killed_process_has_left_does_not_lend_its_mode_to_a_key(tmp_path: Path) -> None:
    left = tmp_path / f"ca.key.{os.getpid()}"
    left.touch(mode=0o666)
    local_certificate(tmp_path, NAMES, NOW)
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600


def shaken_hands(tmp_path: Path, made: Certificate, name: str) -> None:
    """Let OpenSSL check a certificate as a client does that trusts the CA."""
    assert made.ca is not None
    trusting = ssl.create_default_context(cafile=made.ca)
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(one, other, server_hostname=name)
    server = load_context(made).wrap_bio(other, one, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("name", NAMES.wanted)
def test_a_client_that_trusts_the_ca_takes_each_name(tmp_path: Path, name: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    shaken_hands(tmp_path, local_certificate(tmp_path, NAMES, now), name)


@pytest.mark.parametrize("name", ["bank.example", "127.0.0.2", "10.0.0.1", "::2"])
def test_a_client_that_trusts_the_ca_takes_no_other_name_from_it(tmp_path: Path, name: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    made = local_certificate(tmp_path, NAMES, now)
    ca = read_pair(tmp_path / "ca.pem", tmp_path / "ca.key")
    assert ca is not None
    write_pair(made.chain, made.key, new_leaf(ca, Names([name]), now))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shaken_hands(tmp_path, made, name)


def test_a_ca_without_constraints_or_for_other_names_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_certificate(tmp_path, NAMES, NOW)
    ca, leaf = serials(tmp_path)
    local_certificate(tmp_path, Names([*NAMES.wanted[:3], "renamed"]), NOW)
    assert serials(tmp_path)[0] != ca
    assert serials(tmp_path)[1] != leaf
    monkeypatch.setattr("hubbub.certs.is_good_ca", lambda *_: True)
    monkeypatch.setattr("hubbub.certs.constraints", lambda _names: x509.OCSPNoCheck())  # no constraint
    (tmp_path / "ca.key").unlink()
    local_certificate(tmp_path, NAMES, NOW)
    ca, _ = serials(tmp_path)
    monkeypatch.undo()
    local_certificate(tmp_path, NAMES, NOW)
    assert serials(tmp_path)[0] != ca


def test_it_covers_the_names_and_is_issued_by_the_ca(tmp_path: Path) -> None:
    made = local_certificate(tmp_path, NAMES, NOW)
    assert made.ca is not None
    leaf = x509.load_pem_x509_certificate(made.chain.read_bytes())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(made.ca.read_bytes()))
    covered = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert covered.get_values_for_type(x509.DNSName) == ["localhost", "box"]
    assert [str(address) for address in covered.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < datetime.timedelta(days=398)


def test_the_leaf_is_renewed_before_it_expires_and_the_ca_stays(tmp_path: Path) -> None:
    local_certificate(tmp_path, NAMES, NOW)
    ca, leaf = serials(tmp_path)
    local_certificate(tmp_path, NAMES, NOW + datetime.timedelta(days=334))
    assert serials(tmp_path) == (ca, leaf)
    local_certificate(tmp_path, NAMES, NOW + datetime.timedelta(days=336))
    assert serials(tmp_path)[0] == ca
    assert serials(tmp_path)[1] != leaf


def test_a_ca_that_would_expire_before_its_leaf_is_renewed(tmp_path: Path) -> None:
    local_certificate(tmp_path, NAMES, NOW)
    ca, leaf = serials(tmp_path)
    local_certificate(tmp_path, NAMES, NOW + datetime.timedelta(days=3650 - 300))
    assert serials(tmp_path)[0] != ca
    assert serials(tmp_path)[1] != leaf


def test_a_new_name_or_a_broken_file_brings_a_new_leaf(tmp_path: Path) -> None:
    local_certificate(tmp_path, Names(NAMES.wanted[:3]), NOW)
    _, leaf = serials(tmp_path)
    local_certificate(tmp_path, NAMES, NOW)
    assert serials(tmp_path)[1] != leaf
    (tmp_path / "localhost.key").write_text("nonsense")
    load_context(local_certificate(tmp_path, NAMES, NOW))


def test_the_context_takes_tls_1_2_and_later(tmp_path: Path) -> None:
    assert load_context(local_certificate(tmp_path, NAMES, NOW)).minimum_version == ssl.TLSVersion.TLSv1_2


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    ours = local_certificate(tmp_path / "a", NAMES, NOW)
    others = local_certificate(tmp_path / "b", NAMES, NOW)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for certificate, complaint in (
        (Certificate(ours.chain, others.key), "is not the key of"),
        (Certificate(nonsense, ours.key), "not a PEM certificate"),
        (Certificate(ours.chain, nonsense), "not a PEM certificate"),
        (Certificate(tmp_path / "none", ours.key), "No such file"),
        (Certificate(ours.chain, tmp_path), "Is a directory"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            load_context(certificate)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--data-dir"):
        local_certificate(tmp_path / "file" / "folder", NAMES, NOW)


# Others


OPEN = Names([*NAMES.wanted, "chat.example"], ["192.168.1.5"], is_open=True)


def names_of(path: Path) -> set[str]:
    leaf = x509.load_pem_x509_certificate(path.read_bytes())
    covered = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*covered.get_values_for_type(x509.DNSName), *map(str, covered.get_values_for_type(x509.IPAddress))}


def test_another_private_address_brings_a_new_leaf_of_the_same_ca(tmp_path: Path) -> None:
    local_certificate(tmp_path, OPEN, NOW)
    ca, leaf = serials(tmp_path)
    made = local_certificate(tmp_path, OPEN._replace(seen=["10.0.0.9", "fd00::9"]), NOW)
    assert serials(tmp_path)[0] == ca
    assert serials(tmp_path)[1] != leaf
    assert not made.is_ca_replaced
    assert names_of(made.chain) == {*OPEN.wanted, "10.0.0.9", "fd00::9"}


def test_a_name_that_is_gone_is_in_no_leaf_and_the_ca_stays(tmp_path: Path) -> None:
    local_certificate(tmp_path, OPEN, NOW)
    ca, _ = serials(tmp_path)
    made = local_certificate(tmp_path, NAMES, NOW)
    assert serials(tmp_path)[0] == ca
    assert "chat.example" not in names_of(made.chain)


def test_a_name_below_one_needs_no_new_ca_and_another_one_does(tmp_path: Path) -> None:
    local_certificate(tmp_path, OPEN, NOW)
    ca, _ = serials(tmp_path)
    below = local_certificate(tmp_path, OPEN._replace(wanted=[*OPEN.wanted, "team.chat.example"]), NOW)
    assert (serials(tmp_path)[0], below.is_ca_replaced) == (ca, False)
    for other in ("wechat.example", "203.0.113.9"):
        ca, _ = serials(tmp_path)
        made = local_certificate(tmp_path, OPEN._replace(wanted=[*OPEN.wanted, other]), NOW)
        assert made.is_ca_replaced
        assert serials(tmp_path)[0] != ca


def test_a_ca_of_loopback_is_replaced_once_others_connect(tmp_path: Path) -> None:
    assert not local_certificate(tmp_path, NAMES, NOW).is_ca_replaced
    assert local_certificate(tmp_path, NAMES._replace(is_open=True), NOW).is_ca_replaced
    assert not local_certificate(tmp_path, NAMES._replace(is_open=True), NOW).is_ca_replaced
    assert not local_certificate(tmp_path, NAMES, NOW).is_ca_replaced


@pytest.mark.parametrize("name", ["chat.example", "192.168.1.5", "localhost"])
def test_others_who_trust_the_ca_take_the_names(tmp_path: Path, name: str) -> None:
    shaken_hands(tmp_path, local_certificate(tmp_path, OPEN, datetime.datetime.now(datetime.UTC)), name)


@pytest.mark.parametrize("name", ["bank.example", "203.0.113.9", "2001:db8::9"])
def test_others_who_trust_the_ca_take_no_public_name_from_it(tmp_path: Path, name: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    made = local_certificate(tmp_path, OPEN, now)
    ca = read_pair(tmp_path / "ca.pem", tmp_path / "ca.key")
    assert ca is not None
    write_pair(made.chain, made.key, new_leaf(ca, Names([name]), now))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shaken_hands(tmp_path, made, name)
