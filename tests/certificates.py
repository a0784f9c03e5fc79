"""Certificates for tests: an authority, and what it signs, as files in PEM."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class Authority:
    """An authority of a test's own, which signs certificates into a folder."""

    def __init__(self, folder: Path, name: str = "tests") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._begun(self._name, self._key.public_key(), DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = str(folder / f"{name}-ca.pem")
        Path(self.file).write_bytes(_pem(certificate))

    def _begun(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        life: dt.timedelta,
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + life)
        )

    def sign(
        self, name: str, *, into: str | None = None, life: dt.timedelta = DAY
    ) -> tuple[str, str]:
        """Write a certificate for a name or address; return its file and its key's.

        Args:
            name: the host's name, or its address.
            into: what the files are called; the name when it is missing.
            life: until it expires.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._begun(subject, key.public_key(), life)
            .add_extension(x509.SubjectAlternativeName([alternative]), False)
            .sign(self._key, hashes.SHA256())
        )
        stem = self.folder / (into or name)
        files = stem.with_suffix(".pem"), stem.with_suffix(".key")
        files[0].write_bytes(_pem(certificate))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(files[0]), str(files[1])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
