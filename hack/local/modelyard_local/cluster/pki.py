"""Certificate authorities, certificates and kubeconfigs of a local cluster.

The identities are those of Kubernetes' own documentation ("PKI certificates and requirements"), so
that the Node and RBAC authorizers and their default roles apply unchanged.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelyard_local.cluster.files import write_atomic

_CA_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
# Virtual machines restored from a snapshot may have a clock that lags.
_BACKDATE = timedelta(hours=1)


@dataclass(frozen=True)
class Pair:
    """A PEM certificate and its PEM private key on disk."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder; made at the first use, then reused."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        if not (self.pair.certificate.exists() and self.pair.key.exists()):
            self._make()
        self._certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        self._key = _load_key(self.pair.key)

    def issue(
        self,
        name: str,
        *,
        common_name: str,
        organizations: Sequence[str] = (),
        hosts: Iterable[str] = (),
    ) -> Pair:
        """A certificate for server (`hosts`: DNS names and addresses) and client use.

        The one on disk is kept while it is signed by this authority, says the same, and is valid
        for 30 days more.
        """
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        subject = _subject(common_name, organizations)
        alternatives = [_general_name(host) for host in dict.fromkeys(hosts)]
        if self._usable(pair, subject, alternatives):
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if alternatives:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(subject, self._certificate.subject, key, _LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            )
        _save(pair, builder.sign(self._key, hashes.SHA256()), key)
        return pair

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(f"modelyard-{self._name}", ())
        certificate = (
            _builder(subject, subject, key, _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        _save(self.pair, certificate, key)

    def _usable(self, pair: Pair, subject: x509.Name, alternatives: list[x509.GeneralName]) -> bool:
        if not (pair.certificate.exists() and pair.key.exists()):
            return False
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        try:
            certificate.verify_directly_issued_by(self._certificate)
            found = list(
                certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            )
        except x509.ExtensionNotFound:
            found = []
        except Exception:  # the signature is another authority's: cryptography raises several types
            return False
        return (
            certificate.subject == subject
            and found == alternatives
            and certificate.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE
        )


def signing_key(folder: Path, name: str) -> Pair:
    """A key pair without a certificate (service account tokens): `.pub` and `.key`."""
    pair = Pair(folder / f"{name}.pub", folder / f"{name}.key")
    if not (pair.certificate.exists() and pair.key.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        write_atomic(pair.key, _pem(key), mode=0o600)
        write_atomic(
            pair.certificate,
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        )
    return pair


def write_kubeconfig(path: Path, *, cluster: str, server: str, authority: Path, user: Pair) -> None:
    """Writes a self-contained kubeconfig that authenticates with the certificate of `user`."""

    def embedded(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    name = f"modelyard-{cluster}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server, "certificate-authority-data": embedded(authority)},
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": embedded(user.certificate),
                    "client-key-data": embedded(user.key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    write_atomic(path, yaml.safe_dump(document, sort_keys=False), mode=0o600)


def _subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
        + [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + life)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # SEC 1, as kubeadm writes it: Go's tls package and kube-apiserver read it.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _save(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    # The key first: a certificate whose key is missing or older would be kept.
    write_atomic(pair.key, _pem(key), mode=0o600)
    write_atomic(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
