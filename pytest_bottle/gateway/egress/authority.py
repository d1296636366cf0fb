"""The authority that signs for a run's proxy: made once, its key never leaves the host."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from pathlib import Path

CA_NAME: Final = "door-ca.pem"
"""In the run's directory: the certificate, without its key."""

DIRECTORY: Final = "proxy"
"""In the run's directory, mode 0700: the key, and what else is the proxy's alone."""

KEY_NAME: Final = "mitmproxy-ca.pem"
"""Key and certificate, by the name that mitmproxy looks for in that directory."""

LIFETIME: Final = dt.timedelta(days=7)
_PAST: Final = dt.timedelta(days=1)
"""For guests whose clocks are late."""


def ensure_authority(run_directory: Path) -> str:
    """Make a run's authority, unless there is one, and return its certificate's fingerprint.

    Only for the proxy's own process: it needs `cryptography`.

    Raises:
        OSError: it could not be written.
    """
    from cryptography import x509  # noqa: PLC0415 - the proxy's environment has it
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - the same
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - the same

    directory = run_directory / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / KEY_NAME
    if not path.exists():
        _write(path, _make())
    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    public = run_directory / CA_NAME
    if not public.exists():
        _write(public, certificate.public_bytes(serialization.Encoding.PEM))
    fingerprint: bytes = certificate.fingerprint(hashes.SHA256())
    return fingerprint.hex()


def _make() -> bytes:
    """Return a new key and its certificate, in PEM."""
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - the same
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - the same
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - the same

    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pytest-bottle, one run")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .subject_name(name)
        .issuer_name(name)
        .not_valid_before(now - _PAST)
        .not_valid_after(now + LIFETIME)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public: bytes = certificate.public_bytes(serialization.Encoding.PEM)
    return private + public


def _write(path: Path, data: bytes) -> None:
    """Write a file that appears whole; only this user may read it."""
    draft = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    draft.replace(path)
