"""Who may store captures where: an agent's pod, for its own ModelServer, new objects only.

Real: API server, TokenReview, the chart's roles, versitygw with the chart's accounts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import obstore
import pytest

from .conftest import AGENT, INTAKE, SYSTEM, Place

CONTENT = b"a file of captures"


@pytest.fixture
def server(place: Place) -> str:
    """A server and its pod, which have one name."""
    return place.server(place.pod())


def granted(place: Place, server: str, content: bytes = CONTENT, **changes: Any) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    answer = place.ask(
        place.token(AGENT, server), server, sha256=digest, sizeBytes=len(content), **changes
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def put(grant: dict[str, Any], content: bytes = CONTENT, **headers: str) -> int:
    answer = httpx.put(grant["url"], content=content, headers=grant["headers"] | headers)
    return answer.status_code


def stored(place: Place, namespace: str = "shop") -> dict[str, bytes]:
    bucket = place.store.bucket(namespace, place.store.key(namespace, "writer"))
    paths = [one["path"] for page in obstore.list(bucket, "captures") for one in page]
    return {path: bytes(obstore.get(bucket, path).bytes()) for path in paths}


def test_an_agent_stores_under_its_servers_prefix_and_once(place: Place, server: str) -> None:
    grant = granted(place, server)
    assert put(grant) == 200
    assert put(grant) == 412
    key = f"captures/shelf/{server}/20261128-0123456789ab-000001-o1.tar"
    assert stored(place)[key] == CONTENT


def test_a_grant_is_for_one_content_and_one_name(place: Place, server: str) -> None:
    grant = granted(place, server)
    other = b"b file of captures"
    assert len(other) == len(CONTENT)
    assert put(grant, other) >= 400
    assert put(grant, CONTENT + b"more") >= 400
    assert put({**grant, "url": grant["url"].replace("000001", "000002")}) == 403
    assert put({**grant, "headers": {}}) == 403
    weaker = {name: value for name, value in grant["headers"].items() if name != "if-none-match"}
    assert put({**grant, "headers": weaker}) == 403
    checksum = {**grant["headers"], "x-amz-checksum-sha256": "A" * 43 + "="}
    assert put({**grant, "headers": checksum}) == 403
    assert httpx.get(grant["url"]).status_code == 403
    assert httpx.delete(grant["url"]).status_code == 403
    assert not any(server in key for key in stored(place))


def test_other_tokens_are_refused(place: Place, server: str) -> None:
    trainer = place.pod(account="modelyard-trainer")
    place.cluster.kubectl("create", "serviceaccount", "stranger", "-n", "shop")
    stranger = place.pod(account="stranger")
    refusals = {
        "made up": ("nonsense", 401),
        "for the API server": (place.token(AGENT, server, audience=""), 401),
        "for another service": (place.token(AGENT, server, audience="vault"), 401),
        "of no pod": (place.token(AGENT, None), 403),
        "of a trainer": (place.token("modelyard-trainer", trainer), 403),
        "of anybody": (place.token("stranger", stranger), 403),
        "of the service itself": (place.token(INTAKE, None, SYSTEM), 403),
    }
    for what, (token, status) in refusals.items():
        answer = place.ask(token, server)
        assert answer.status_code == status, what
        assert "url" not in answer.text


def test_a_servers_name_is_no_credential(place: Place, server: str) -> None:
    other = place.pod()
    place.server(other)
    answer = place.ask(place.token(AGENT, other), server)
    assert answer.status_code == 403
    assert "does not belong" in answer.text
    # A server of the same name in another namespace is another one.
    place.cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": server, "namespace": "other"},
            "spec": {"serviceAccountName": AGENT, "containers": [{"name": "c", "image": "none"}]},
        }
    )
    foreign = place.token(AGENT, server, "other")
    assert place.ask(foreign, server).status_code == 403
    assert place.ask(foreign, f"../../shop/modelservers/{server}").status_code == 400


def test_a_server_that_is_not_to_capture_stores_nothing(place: Place) -> None:
    pod = place.pod()
    server = place.server(pod, capture=False)
    answer = place.ask(place.token(AGENT, pod), server)
    assert answer.status_code == 403
    assert "not to capture" in answer.text


def test_a_pod_that_is_gone_stores_nothing(place: Place) -> None:
    pod = place.pod()
    server, token = place.server(pod), place.token(AGENT, pod)
    place.cluster.kubectl("delete", "pod", pod, "-n", "shop", "--force", "--grace-period=0")
    assert place.ask(token, server).status_code == 401


@pytest.mark.parametrize(
    "name",
    [
        "../../blobs/sha256/abc.tar",
        "20261128-0123456789ab-000001-o1.tar/../x",
        "20261128-0123456789ab-000001-x1.tar",
        "20261128-0123456789ab-000001-o0.tar",
        "a" * 1000,
        "",
    ],
)
def test_names_are_those_of_captures(place: Place, server: str, name: str) -> None:
    assert place.ask(place.token(AGENT, server), server, name=name).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [{"sha256": "x"}, {"sizeBytes": 0}, {"sizeBytes": 10**12}, {"sizeBytes": "many"}],
)
def test_nonsense_is_refused(place: Place, server: str, changes: dict[str, Any]) -> None:
    assert place.ask(place.token(AGENT, server), server, **changes).status_code == 400


def test_the_services_key_can_only_put_captures(place: Place, server: str) -> None:
    put(granted(place, server))
    bucket = place.store.bucket("shop", place.store.key(SYSTEM, "intake"))
    [key] = [one for one in stored(place) if server in one]
    for forbidden in (
        lambda: obstore.get(bucket, key),
        lambda: list(obstore.list(bucket, "captures")),
        lambda: obstore.delete(bucket, key),
        lambda: obstore.put(bucket, "blobs/sha256/0", b"x"),
        lambda: obstore.put(bucket, "_collector/state.json", b"{}"),
    ):
        with pytest.raises(Exception, match=r"(?i)denied|permission|unauthorized|403"):
            forbidden()


def test_each_server_has_limits_of_its_own(serve: Callable[..., Place]) -> None:
    place = serve(MODELYARD_INTAKE_REQUESTS="2", MODELYARD_INTAKE_BYTES="1000")
    greedy, modest = place.pod(), place.pod()
    servers = {pod: place.server(pod) for pod in (greedy, modest)}
    tokens = {pod: place.token(AGENT, pod) for pod in (greedy, modest)}
    answers = [place.ask(tokens[greedy], servers[greedy]).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    last = place.ask(tokens[greedy], servers[greedy])
    assert int(last.headers["Retry-After"]) > 60
    assert place.ask(tokens[modest], servers[modest], sizeBytes=900).status_code == 200
    assert place.ask(tokens[modest], servers[modest], sizeBytes=900).status_code == 429
