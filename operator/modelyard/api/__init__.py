"""The user's language: one module a kind; the CRDs are rendered from these models."""

from modelyard.api.kinds import ALL_KINDS, KindInfo, kind_info

__all__ = ["ALL_KINDS", "KindInfo", "kind_info"]
