"""Names of children are legal wherever the API server takes the name of their owner."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.kinds import kind_info
from modelyard.core.deployment import names
from modelyard.core.naming import MAX_NAME, child_name

from .world import deployment

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
"""What a Service may be called before Kubernetes 1.36."""
_LABEL = r"([-a-z0-9]{0,80}[a-z0-9])?"
ADMITTED = st.from_regex(rf"[a-z]{_LABEL}(\.[a-z0-9]{_LABEL}){{0,2}}", fullmatch=True)
"""A DNS-1123 subdomain that begins with a letter, which a Deployment's name must be."""


@given(ADMITTED, st.sampled_from(["", "stable", "candidate", "activator"]))
def test_a_service_can_be_named_after_any_deployment(name: str, suffix: str) -> None:
    found = child_name(name, suffix)
    assert DNS_1035.fullmatch(found), found
    assert len(found) <= MAX_NAME


@pytest.mark.parametrize("name", ["cameras", "shop.a", "x" * 253])
def test_its_own_service_is(name: str) -> None:
    assert DNS_1035.fullmatch(names.service_name(deployment(name)))


def test_the_schema_asks_for_a_letter() -> None:
    (rule,) = kind_info("Deployment").root_rules
    assert rule["rule"] == "self.metadata.name.matches('^[a-z]')"
