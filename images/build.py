"""Builds Modelyard's container images; needs Python 3.11 and nothing else from PyPI.

python images/build.py                          all images, unless they are there, unchanged
python images/build.py trainer --archive-dir D  one image, and its archive in D
python images/build.py --list                   what would be built, and what is there
"""

import argparse
import dataclasses
import json
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from image_builder import ImageError, ImageRef, Progress, archives, build, plan

__all__ = ["ImageError", "ImageRef", "Progress", "build", "main", "plan"]

_print_lock = threading.Lock()


def _say(line: str) -> None:
    with _print_lock:
        print(line, flush=True)


def _plain(progress: Progress) -> None:
    steps = f" {progress.step}/{progress.steps}" if progress.steps else ""
    text = progress.text if len(progress.text) <= 90 else progress.text[:89] + "…"
    minutes, seconds = divmod(int(progress.seconds), 60)
    _say(f"{minutes:3}:{seconds:02} {progress.image:9} {progress.state}{steps} {text}".rstrip())


def _json(progress: Progress) -> None:
    _say(json.dumps({"event": "progress", **dataclasses.asdict(progress)}))


def _as_json(ref: ImageRef) -> dict[str, object]:
    archive = str(ref.archive) if ref.archive else None
    return {**dataclasses.asdict(ref), "archive": archive}


def _table(refs: dict[str, ImageRef]) -> None:
    width = max(len(ref.tag) for ref in refs.values())
    print(f"\n{'IMAGE':{width}}  {'SIZE':>9}  {'TIME':>7}  ARCHIVE")
    for ref in refs.values():
        took = "reused" if ref.reused else f"{ref.seconds:.0f} s"
        archive = f"{ref.archive} ({_size(ref.archive.stat().st_size)})" if ref.archive else "-"
        print(f"{ref.tag:{width}}  {_size(ref.size):>9}  {took:>7}  {archive}")


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _list(names: list[str], folder: Path | None) -> None:
    for name, tag in plan(names).items():
        state = ""
        if folder is not None:
            there = archives.path(folder, name, tag).is_file()
            state = "archived" if there else "not archived"
        print(f"{name:9} {tag}  {state}".rstrip())


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit codes: 0 done, 1 a build failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="images to build (default: all)")
    parser.add_argument("--archive-dir", type=Path, help="also write one archive an image here")
    parser.add_argument("--builder", help="docker, podman or buildah (default: first that works)")
    parser.add_argument(
        "--list", action="store_true", help="print the images' names, build nothing"
    )
    parser.add_argument(
        "--json-progress",
        action="store_true",
        help="one JSON object a line, the last one the result",
    )
    options = parser.parse_args(arguments)
    # Ended by another program (the demo, CI): as tidy as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.list:
            _list(options.names, options.archive_dir)
            return 0
        report = _json if options.json_progress else _plain
        refs = build(options.names, options.archive_dir, report, options.builder)
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; what was built so far is kept", file=sys.stderr)
        return 130
    if options.json_progress:
        images = {name: _as_json(ref) for name, ref in refs.items()}
        _say(json.dumps({"event": "result", "images": images}))
    else:
        _table(refs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
