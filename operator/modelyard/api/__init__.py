"""The user's language: one module a kind; the CRDs are rendered from these models."""

from modelyard.api.kinds import ALL_KINDS, kind_info
from modelyard.api.registration import KindInfo

__all__ = ["ALL_KINDS", "KindInfo", "kind_info"]
