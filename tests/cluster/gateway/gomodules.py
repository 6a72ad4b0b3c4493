"""What Go modules ship beside their code, such as CRDs."""

from __future__ import annotations

import subprocess
from pathlib import Path


def unpacked(where: Path, module: str) -> Path:
    """The folder of `module`, in the version that the go.mod in `where` pins."""
    subprocess.run(["go", "mod", "download", module], cwd=where, check=True, timeout=300)
    said = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", module],
        cwd=where,
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(said.stdout.strip())
