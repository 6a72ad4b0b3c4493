"""Makes a Triton server folder from the nvidia-pytriton wheel; standard library only.

    python3 unpack.py nvidia_pytriton-0.7.0-….whl /opt/tritonserver

The wheel carries a whole tritonserver with the Python backend; pytriton itself is left out. The
result is `bin/tritonserver`, `lib/` and `backends/{python,onnxruntime}`; the latter is the
Python-based backend beside this file. Used by the image's build and by the tests.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SERVER = PurePosixPath("pytriton/tritonserver")
LIBRARIES = PurePosixPath("nvidia_pytriton.libs")
STUB = "triton_python_backend_stub"
BACKENDS = Path(__file__).parent / "backends"


def target(member: PurePosixPath) -> PurePosixPath | None:
    """Where a file of the wheel goes, relative to the server folder; None if it is not needed.

    The binaries look for their libraries in ../../../nvidia_pytriton.libs and the like, so
    LD_LIBRARY_PATH must name lib/ (the image does).
    """
    if member.is_relative_to(LIBRARIES):
        # 32 MB that only the stub of Python 3.13 needs.
        return None if member.name.startswith("libpython") else PurePosixPath("lib", member.name)
    if not member.is_relative_to(SERVER):
        return None
    inside = member.relative_to(SERVER)
    if inside.parts[0] == "python_backend_stubs":
        wanted = inside.parts[1] == PYTHON
        return PurePosixPath("backends/python", STUB) if wanted else None
    return inside if inside.parts[0] in ("bin", "backends") else None


def unpack(wheel: Path, server: Path) -> None:
    """Unpacks the server. Raises SystemExit if the wheel has no stub for this Python."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            place = None if info.is_dir() else target(PurePosixPath(info.filename))
            if place is None:
                continue
            path = server / place
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, path.open("wb") as file:
                shutil.copyfileobj(source, file)
            executable = path.name in ("tritonserver", STUB) or ".so" in path.name
            path.chmod(0o755 if executable else 0o644)
    if not (server / "backends/python" / STUB).is_file():
        raise SystemExit(f"{wheel.name} has no Triton stub for Python {PYTHON}")
    shutil.copytree(BACKENDS, server / "backends", dirs_exist_ok=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
