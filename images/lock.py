"""Pins what each image installs from PyPI: pyproject.toml → images/<name>/requirements.txt.

    python images/lock.py [NAME …]      needs uv (pip install uv) and PyPI

Run it after a change of the extras in pyproject.toml; a unit test notices where that was forgotten.
Existing pins are kept where they still fit; `--upgrade` takes the newest versions.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from image_builder.catalog import IMAGES, ROOT, Lock
from image_builder.errors import ImageError

HEADER = "# Written by images/lock.py from pyproject.toml; do not edit.\n"


def provided(lock: Lock, folder: Path) -> list[str]:
    """Names of the distributions that the image's Debian packages provide."""
    if lock.provided is None:
        return []
    lines = (folder / lock.provided).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def resolve(lock: Lock, folder: Path, upgrade: bool) -> None:
    """Writes the requirements file. Raises ImageError where uv fails."""
    target = folder / lock.requirements
    command = [sys.executable, "-m", "uv", "pip", "compile", str(ROOT / "pyproject.toml")]
    command += [f"--extra={extra}" for extra in lock.extras]
    command += [str(folder / name) for name in lock.also]
    command += [f"--python-version={lock.python}", "--python-platform=x86_64-manylinux_2_28"]
    command += ["--only-binary=:all:", "--no-header", "--no-annotate", "--quiet"]
    command += ["--upgrade"] if upgrade else []
    with tempfile.TemporaryDirectory() as scratch:
        # A marker that never holds takes a requirement out of the resolution altogether.
        overrides = Path(scratch) / "overrides.txt"
        overrides.write_text(
            "".join(f'{name} ; sys_platform == "never"\n' for name in provided(lock, folder))
        )
        output = Path(scratch) / "requirements.txt"
        if target.exists():
            output.write_bytes(target.read_bytes())
        command += ["--override", str(overrides), "--output-file", str(output)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise ImageError(
                f"{target.relative_to(ROOT)} cannot be resolved (uv is needed: pip install uv):\n"
                f"{done.stderr.strip()}"
            )
        target.write_text(HEADER + output.read_text().replace(HEADER, ""))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="images (default: all)")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    options = parser.parse_args()
    try:
        for name in options.names or IMAGES:
            if name not in IMAGES:
                raise ImageError(f"There is no image '{name}'")
            folder = ROOT / "images" / name
            for lock in IMAGES[name].locks:
                resolve(lock, folder, options.upgrade)
                print(f"wrote {(folder / lock.requirements).relative_to(ROOT)}")
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
