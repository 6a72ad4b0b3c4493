"""Who may control a serving pod's Triton: the processes of the pod, by a random key of its own.

Triton's container makes the key when the pod starts (`core/deployment/tritoncommand.py`), in a
volume in memory that only Triton's container and the agent's mount. It is in no API object,
environment, event or log. Identifiers such as the pod's UID are public and authorise nothing.

The key itself is sent to Triton only, over loopback, for model control. What the pipeline's steps
check is derived from it:

    proof of a generation   the agent calls a generation that does not serve (warm-up, shadow)
    key of frames           a request came through the pipeline's first step
                            (`serving/models/guard.py`)
"""

from __future__ import annotations

import hmac
from pathlib import Path

CONTROL = Path("/run/modelyard/control")
"""Where the volume is mounted."""
KEY_FILE = CONTROL / "key"
"""The key: 64 hexadecimal digits."""
RUNTIME = "onnxruntime"
"""File beside the key, there if Triton's Python has ONNX Runtime: then one step computes a whole
request. Written before the key."""
KEY_FILE_ENV = "MODELYARD_CONTROL_KEY_FILE"
"""Overrides KEY_FILE outside pods."""
HEADER = "modelyard-control"
"""Name of the header that carries the key, without Triton's own prefix."""
PROOF_PARAMETER = "modelyard_proof"
"""Request parameter that carries the proof of a generation."""


def proof(key: bytes, generation: str) -> str:
    """What authorises a call of a generation that clients are not offered; 64 hexadecimal digits.

    HMAC-SHA256 (RFC 2104) of the generation's name, so that it tells nothing about the key and
    is of no use for another generation.
    """
    return hmac.digest(key, f"generation {generation}".encode(), "sha256").hex()
