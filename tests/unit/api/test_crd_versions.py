"""A kind in several API versions; tests/cluster/versions asks the API server about them."""

from __future__ import annotations

import pytest

from modelyard.api.crd import CrdVersion, render
from modelyard.api.kinds import ALL_KINDS, kind_info
from modelyard.api.registration import KindInfo

OLD, NEW = CrdVersion("v1alpha1", deprecation="use v1beta1"), CrdVersion("v1beta1", storage=True)


@pytest.mark.parametrize("info", ALL_KINDS, ids=lambda info: info.kind)
def test_versions_differ_in_nothing_but_how_they_are_served(info: KindInfo) -> None:
    spec = render(info, (OLD, NEW))["spec"]
    old, new = spec["versions"]
    assert (old.pop("name"), new.pop("name")) == ("v1alpha1", "v1beta1")
    assert (old.pop("storage"), new.pop("storage")) == (False, True)
    assert (old.pop("deprecated"), old.pop("deprecationWarning")) == (True, "use v1beta1")
    assert old == new
    assert spec["conversion"] == {"strategy": "None"}


def test_one_version_needs_no_conversion() -> None:
    assert "conversion" not in render(kind_info("Dataset"))["spec"]


@pytest.mark.parametrize(
    "versions", [(), (OLD,), (NEW, CrdVersion("v1", storage=True))], ids=["none", "no", "two"]
)
def test_exactly_one_version_is_stored(versions: tuple[CrdVersion, ...]) -> None:
    with pytest.raises(ValueError, match="exactly one storage version"):
        render(kind_info("Dataset"), versions)
