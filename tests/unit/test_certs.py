"""The local certificate: made once, renewed in time, its keys for their owner alone."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from hubbub.certs import Certificate, load_context, local_certificate
from hubbub.errors import ConfigError

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
NAMES = ["localhost", "127.0.0.1", "::1", "box"]


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
    local_certificate(tmp_path, NAMES[:3], NOW)
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
