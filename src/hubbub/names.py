"""The names that a server goes by: where it listens, what its certificate says, and what is set."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from hubbub.certs import local_names
from hubbub.settings import Settings

__all__ = ["server_names"]


def server_names(settings: Settings) -> list[str]:
    """The names and addresses that a request to the server may be for, besides loopback's."""
    certified = local_names() if settings.tls_cert is None else names_in(settings.tls_cert)
    return [settings.host, *certified, *settings.allow_host]


def names_in(chain: Path) -> list[str]:
    """The names and addresses of the certificate that a file begins with; its CN is none (RFC 9525 section 6.1)."""
    certificate = x509.load_pem_x509_certificate(chain.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    ]
