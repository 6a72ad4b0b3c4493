"""Pods do not fetch from metadata services, loopback, link-local and unlisted private addresses,
however a URL gets there.

Real: the fetchers and servers on this machine, which count what reaches them. Not real: DNS, where
a name must have two answers (`socket.getaddrinfo` is replaced).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from modelyard.contract import exitcodes
from modelyard.workloads.addresses import AddressRules
from modelyard.workloads.data.fetch_http import download
from modelyard.workloads.data.limits import Limits
from modelyard.workloads.errors import UserError

Run = Callable[..., Any]
LISTED = AddressRules.parse(["10.20.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "fc00::/7"])

METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
]
ALWAYS = [
    *METADATA,
    *(f"::ffff:{one}" for one in METADATA if ":" not in one),
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::6464:64c8",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::a9fe:a9fe",
    "fe80::1",
    "fe80::1%eth0",
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
]


@pytest.mark.parametrize("address", ALWAYS)
def test_refused_whatever_is_listed(address: str) -> None:
    assert LISTED.refusal(address)
    assert AddressRules().refusal(address)
    assert AddressRules.parse(["0.0.0.0/0", "::/0"]).refusal(address)


@pytest.mark.parametrize(
    "address", ["10.20.3.4", "::ffff:10.20.3.4", "64:ff9b::a14:304", "fd12::1", "100.64.0.1"]
)
def test_private_addresses_need_the_list(address: str) -> None:
    assert "workloads.allowedPrivateNetworks" in (AddressRules().refusal(address) or "")
    assert LISTED.refusal(address) is None


@pytest.mark.parametrize("address", ["10.21.0.1", "192.168.1.1", "172.16.0.1", "100.63.0.1"])
def test_only_what_is_listed(address: str) -> None:
    refused = LISTED.refusal(address)
    assert (refused is None) == (address == "100.63.0.1")  # public, beside the shared range


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_fetched_from(address: str) -> None:
    assert AddressRules().refusal(address) is None


LOOPBACK = ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("kind", ["http", "s3"])
def test_nothing_reaches_a_server_at_a_refused_address(
    run_data: Run, site: Any, kind: str, host: str
) -> None:
    site.files["/digits.zip"] = b"x"
    url = f"http://{host}:{urlsplit(site.url).port}"
    source = {
        "http": {"http": {"url": f"{url}/digits.zip"}},
        "s3": {"s3": {"bucket": "data", "key": "digits/", "endpoint": url}},
    }[kind]
    ended = run_data(source, networks=())
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "SourceNotAllowed")
    assert site.requests == []


@pytest.mark.parametrize("address", ["169.254.169.254", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]"])
@pytest.mark.parametrize("kind", ["http", "s3", "redirect"])
def test_metadata_services_are_refused_before_a_connection(
    run_data: Run, site: Any, kind: str, address: str
) -> None:
    site.redirects["/a.zip"] = f"http://{address}/latest/meta-data/iam"
    source = {
        "http": {"http": {"url": f"http://{address}/a.zip"}},
        "s3": {"s3": {"bucket": "data", "key": "digits/", "endpoint": f"http://{address}"}},
        "redirect": {"http": {"url": f"{site.url}/a.zip"}},
    }[kind]
    ended = run_data(source)
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "SourceNotAllowed")
    assert "metadata services" in ended.outcome.message


def test_a_name_that_changes_its_address_is_not_believed(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: every check of a name sees a public address, every second answer is ours."""
    site.files["/a.zip"] = b"secret"
    port = urlsplit(site.url).port
    look_up, asked = socket.getaddrinfo, []

    def rebinding(host: Any, service: Any, *more: Any, **named: Any) -> Any:
        if host != "rebind.example":
            return look_up(host, service, *more, **named)
        asked.append(host)
        address = "127.0.0.1" if len(asked) % 2 == 0 else "192.0.2.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    rules = AddressRules.parse(["192.0.2.0/24"])  # stands for a public address, and is nobody's
    monkeypatch.setattr("modelyard.workloads.guarded.TIMEOUT", 0.2)
    with pytest.raises(UserError) as caught:
        download(
            f"http://rebind.example:{port}/a.zip",
            tmp_path / "a.zip",
            digest=None,
            limits=Limits(),
            rules=rules,
            first_wait=0.01,
        )
    assert caught.value.reason == "SourceNotAllowed"
    assert len(asked) == 2
    assert site.requests == []


def test_of_several_addresses_a_permitted_one_is_used(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/a.zip"] = b"content"
    port = urlsplit(site.url).port
    answers = ["169.254.169.254", "127.0.0.1"]
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_a, **_n: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in answers],
    )
    target = tmp_path / "a.zip"
    rules = AddressRules.parse(["127.0.0.0/8"])
    url = f"http://two.example:{port}/a.zip"
    download(url, target, digest=None, limits=Limits(), rules=rules)
    assert target.read_bytes() == b"content"


def test_the_stores_endpoint_needs_no_entry(run_data: Run, s3: Any) -> None:
    """The administrator chose it; a source there has credentials of its own."""
    source = {"bucket": s3.bucket, "key": "nothing/", "credentials": {"name": "mine"}}
    keys = {"SOURCE_AWS_ACCESS_KEY_ID": "modelyard"}
    keys["SOURCE_AWS_SECRET_ACCESS_KEY"] = "modelyard-secret"
    ended = run_data(
        {"s3": source | {"endpoint": s3.endpoint}}, store=s3.location(), env=keys, networks=()
    )
    assert ended.outcome.reason == "SourceMissing"


def test_a_proxy_is_used_and_still_no_way_to_metadata(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that an image brings: what can be checked before it connects, is."""
    monkeypatch.setenv("HTTP_PROXY", site.url)
    monkeypatch.setenv("http_proxy", site.url)
    site.files["http://8.8.8.8/a.zip"] = b"through the proxy"
    target = tmp_path / "a.zip"
    rules = AddressRules()
    download("http://8.8.8.8/a.zip", target, digest=None, limits=Limits(), rules=rules)
    assert target.read_bytes() == b"through the proxy"
    for url in ("http://169.254.169.254/a.zip", "http://localhost/a.zip"):
        with pytest.raises(UserError, match="leads to"):
            download(url, target, digest=None, limits=Limits(), rules=rules)
    assert len(site.requests) == 1


def test_no_setting_opens_loopback_and_link_local(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.runtime import settings

    for network in ("127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10", "10.0.0.1/8", "x"):
        monkeypatch.setenv("MODELYARD_ALLOWED_PRIVATE_NETWORKS", f"10.20.0.0/16,{network}")
        with pytest.raises(settings.InvalidSettings, match="MODELYARD_ALLOWED_PRIVATE_NETWORKS"):
            settings.load()
