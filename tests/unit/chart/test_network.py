"""NetworkPolicies as the chart renders them. What they stop: tests/e2e/test_network.py."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest

PARTS = ("servers", "activators", "datasets", "training", "versions")
WITH_TOKEN = {"servers", "activators", "training"}
EXTERNAL = {"url": "s3://bucket", "embedded": {"enabled": False}}
CLIENTS = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}}]
METADATA = "169.254.169.254"


@pytest.fixture(scope="module")
def policies(render: Any) -> Any:
    """Policies by name, of values for `networkPolicies` and others. Each is rendered once."""
    known: dict[str, dict[str, dict[str, Any]]] = {}

    def of(given: dict[str, Any] | None = None, **values: Any) -> dict[str, dict[str, Any]]:
        asked = {"networkPolicies": given or {}, **values}
        key = json.dumps(asked, sort_keys=True)
        if key not in known:
            found = render(asked).of("NetworkPolicy")
            known[key] = {
                one["metadata"]["name"].removeprefix("modelyard-"): one["spec"] for one in found
            }
        return known[key]

    return of


def ports(rule: dict[str, Any]) -> list[int]:
    return [one["port"] for one in rule.get("ports", ())]


def blocks(policy: dict[str, Any]) -> list[dict[str, Any]]:
    peers = [peer for rule in policy["egress"] for peer in rule.get("to", ())]
    return [peer["ipBlock"] for peer in peers if "ipBlock" in peer]


def allows(policy: dict[str, Any], text: str) -> bool:
    """Whether an address is in a block of the policy, and in none of its exceptions."""
    address = ipaddress.ip_address(text)
    return any(
        address in ipaddress.ip_network(block["cidr"])
        and not any(address in ipaddress.ip_network(one) for one in block.get("except", ()))
        for block in blocks(policy)
    )


def test_all_are_on_by_default_and_can_be_switched_off(policies: Any) -> None:
    assert set(policies()) == {*PARTS, "others", "operator", "store"}
    assert policies({"enabled": False}) == {}


@pytest.mark.parametrize("part", [*PARTS, "operator", "store"])
def test_one_that_is_switched_off_takes_no_other_with_it(policies: Any, part: str) -> None:
    all_of_them = policies()
    assert policies({part: {"enabled": False}}) == {
        name: spec for name, spec in all_of_them.items() if name != part
    }


def test_pods_without_a_policy_of_their_own_are_closed(policies: Any) -> None:
    found = policies()
    (rule,) = found["others"]["podSelector"]["matchExpressions"]
    listed = [found[part]["podSelector"]["matchExpressions"][0]["values"] for part in PARTS]
    assert rule["operator"] == "NotIn"
    assert sorted(rule["values"]) == sorted(one for values in listed for one in values)
    assert (found["others"]["ingress"], found["others"]["egress"]) == ([], [])


def test_only_pods_with_a_token_reach_the_api_server(policies: Any) -> None:
    given = {"apiServer": {"ports": [6443], "cidrs": ["192.0.2.0/28"]}}
    rule = {
        "ports": [{"protocol": "TCP", "port": 6443}],
        "to": [{"ipBlock": {"cidr": "192.0.2.0/28"}}],
    }
    found = policies(given)
    assert {part for part in PARTS if rule in found[part]["egress"]} == WITH_TOKEN


def test_clients_can_be_named_and_activators_stay_among_them(policies: Any) -> None:
    assert all("from" not in rule for rule in policies()["servers"]["ingress"])
    inference, metrics = policies({"clients": CLIENTS})["servers"]["ingress"]
    assert inference["from"][0] == CLIENTS[0]
    assert inference["from"][1]["podSelector"]["matchExpressions"][0]["values"] == ["activator"]
    assert "from" not in metrics
    assert policies({"metrics": CLIENTS})["servers"]["ingress"][1]["from"] == CLIENTS


@pytest.mark.parametrize("part", ["datasets", "training", "versions"])
def test_public_addresses_are_reached_and_private_ones_are_not(policies: Any, part: str) -> None:
    found = policies()[part]
    for address in ("93.184.215.14", "2606:2800:21f:cb07::1"):
        assert allows(found, address)
        assert not allows(policies({"internet": False})[part], address)
    for address in (
        *("10.0.0.1", "100.100.100.200", "127.0.0.1", "168.63.129.16", METADATA, "172.20.0.1"),
        *("192.0.0.192", "192.168.1.1", "fd00:ec2::254", "fe80::1", "64:ff9b::a9fe:a9fe", "::1"),
    ):
        assert not allows(found, address), address


def test_servers_and_activators_reach_no_public_address(policies: Any) -> None:
    for part in ("servers", "activators"):
        assert blocks(policies()[part]) == []


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        pytest.param({}, [7070], id="embedded"),
        pytest.param({**EXTERNAL, "existingSecret": "s"}, [443], id="amazon"),
        pytest.param({**EXTERNAL, "endpoint": "https://s3.corp:9000"}, [9000], id="port"),
        pytest.param({**EXTERNAL, "endpoint": "http://minio"}, [80], id="http"),
        pytest.param(
            {"url": "file:///s", "claim": "c", "embedded": {"enabled": False}}, [], id="directory"
        ),
    ],
)
def test_the_store_is_reached_where_it_is(
    policies: Any, store: dict[str, Any], expected: list[int]
) -> None:
    found = policies({"apiServer": {"ports": [1]}, "dns": {"ports": [2]}}, store=store)
    rules = [ports(rule) for rule in found["servers"]["egress"]]
    assert [one for one in rules if one not in ([1], [2, 2], [80, 988])] == (
        [expected] if expected else []
    )
    assert ("store" in found) == (not store)


def test_only_pods_without_keys_reach_the_clouds_metadata_service(policies: Any) -> None:
    assert allows(policies(store=EXTERNAL)["servers"], METADATA)
    assert not allows(policies(store={**EXTERNAL, "existingSecret": "s"})["servers"], METADATA)


def test_rules_can_be_added(policies: Any) -> None:
    tracker = {"ports": [{"port": 5000}], "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}
    assert policies({"training": {"egress": [tracker]}})["training"]["egress"][-1] == tracker


@pytest.mark.parametrize(
    "given",
    [
        {"server": {"enabled": False}},
        {"servers": {"enable": False}},
        {"apiServer": {"cidrs": ["everywhere"]}},
        {"dns": {"ports": [0]}},
        {"clients": [{}]},
    ],
)
def test_mistakes_are_refused_before_the_installation(policies: Any, given: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match=r"networkPolicies|additional properties"):
        policies(given)
