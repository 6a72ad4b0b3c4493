"""Certificates: kept while they serve, renewed when they do not, and accepted by real TLS."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from modelyard_local.cluster import pki
from modelyard_local.cluster.pki import Authority, Pair, signing_key, write_kubeconfig


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def shake_hands(server: Pair, client: Pair, authority: Authority, name: str) -> None:
    """A mutual TLS handshake between two sockets; raises where either side refuses."""
    left, right = socket.socketpair()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server.certificate, server.key)
    serving.load_verify_locations(authority.pair.certificate)
    serving.verify_mode = ssl.CERT_REQUIRED
    errors: list[Exception] = []

    def serve() -> None:
        try:
            with serving.wrap_socket(left, server_side=True) as stream:
                stream.sendall(b"hello")
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    asking = ssl.create_default_context(cafile=str(authority.pair.certificate))
    asking.load_cert_chain(client.certificate, client.key)
    try:
        with asking.wrap_socket(right, server_hostname=name) as stream:
            assert stream.recv(5) == b"hello"
    finally:
        thread.join()
    assert not errors


def test_server_and_client_trust_each_other(authority: Authority) -> None:
    server = authority.issue("server", common_name="api", hosts=["kubernetes", "127.0.0.1"])
    client = authority.issue("admin", common_name="admin", organizations=["system:masters"])
    shake_hands(server, client, authority, "127.0.0.1")
    shake_hands(server, client, authority, "kubernetes")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, authority, "elsewhere")


def test_identity_is_in_the_subject(authority: Authority) -> None:
    pair = authority.issue("kubelet", common_name="system:node:a", organizations=["system:nodes"])
    subject = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).subject
    assert subject.rfc4514_string() == "CN=system:node:a,O=system:nodes"


def test_kept_until_what_it_says_changes(authority: Authority) -> None:
    def serial(*hosts: str) -> int:
        pair = authority.issue("server", common_name="api", hosts=hosts)
        return x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number

    first = serial("127.0.0.1")
    assert serial("127.0.0.1") == first
    assert serial("127.0.0.1", "10.0.0.1") != first


def test_renewed_before_it_expires(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki, "_LEAF_LIFE", timedelta(days=29))
    old = authority.issue("client", common_name="me").certificate.read_bytes()
    monkeypatch.undo()
    assert authority.issue("client", common_name="me").certificate.read_bytes() != old


def test_renewed_when_the_authority_is_another(tmp_path: Path, authority: Authority) -> None:
    old = authority.issue("client", common_name="me").certificate.read_bytes()
    authority.pair.key.unlink()
    assert (
        Authority(tmp_path, "ca").issue("client", common_name="me").certificate.read_bytes() != old
    )


def test_keys_are_for_their_owner_only(authority: Authority, tmp_path: Path) -> None:
    pairs = [authority.pair, authority.issue("client", common_name="me")]
    pairs.append(signing_key(tmp_path, "tokens"))
    assert {os.stat(pair.key).st_mode & 0o777 for pair in pairs} == {0o600}


def test_kubeconfig_is_self_contained(authority: Authority, tmp_path: Path) -> None:
    user = authority.issue("admin", common_name="admin")
    target = tmp_path / "kubeconfig"
    write_kubeconfig(
        target,
        cluster="local",
        server="https://127.0.0.1:6443",
        authority=authority.pair.certificate,
        user=user,
    )
    document = yaml.safe_load(target.read_text())
    assert document["current-context"] == "modelyard-local"
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert str(tmp_path) not in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o600
