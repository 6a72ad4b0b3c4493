"""What names an image: exactly what goes into it."""

import os
from pathlib import Path

import pytest
from image_builder.catalog import Image
from image_builder.context import snapshot
from image_builder.errors import ImageError

IMAGE = Image(
    "demo",
    include=("images/demo/requirements.txt", "operator/modelyard"),
    without=("cli",),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "images/demo/Dockerfile": "FROM scratch\n",
        "images/demo/requirements.txt": "pydantic==2\n",
        "operator/modelyard/__init__.py": "",
        "operator/modelyard/api/base.py": "x = 1\n",
        "operator/modelyard/cli/main.py": "x = 1\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def _hash(root: Path) -> str:
    return snapshot(IMAGE, root).content_hash


@pytest.mark.parametrize(
    "path",
    ["images/demo/Dockerfile", "images/demo/requirements.txt", "operator/modelyard/api/base.py"],
)
def test_an_edit_of_what_goes_in_renames_the_image(root: Path, path: str) -> None:
    before = _hash(root)
    (root / path).write_text("# edited\n")
    assert _hash(root) != before


def test_a_new_file_renames_the_image(root: Path) -> None:
    before = _hash(root)
    (root / "operator/modelyard/api/new.py").write_text("")
    assert _hash(root) != before


def test_an_executable_bit_renames_the_image(root: Path) -> None:
    before = _hash(root)
    (root / "operator/modelyard/api/base.py").chmod(0o755)
    assert _hash(root) != before


def test_what_stays_out_does_not_rename_it(root: Path) -> None:
    before = _hash(root)
    (root / "operator/modelyard/cli/main.py").write_text("# edited\n")
    cache = root / "operator/modelyard/api/__pycache__"
    cache.mkdir()
    (cache / "base.cpython-311.pyc").write_bytes(b"x")
    (root / "operator/modelyard/api/base.pyc").write_bytes(b"x")
    (root / "README.md").write_text("hello")
    os.utime(root / "operator/modelyard/api/base.py", (1, 1))
    assert _hash(root) == before


def test_the_staged_context_has_what_goes_in_with_one_fixed_time(
    root: Path, tmp_path: Path
) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    program = tmp_path / "tool"
    program.write_bytes(b"\x7fELF")
    snapshot(IMAGE, root).stage(staged, {"images/demo/tool": program})
    found = {path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()}
    assert found == {
        "Dockerfile",
        "images/demo/requirements.txt",
        "images/demo/tool",
        "operator/modelyard/__init__.py",
        "operator/modelyard/api/base.py",
    }
    assert os.access(staged / "images/demo/tool", os.X_OK)
    assert len({path.stat().st_mtime for path in staged.rglob("*")}) == 1


def test_the_image_is_what_was_read_even_if_somebody_edits_meanwhile(
    root: Path, tmp_path: Path
) -> None:
    taken = snapshot(IMAGE, root)
    (root / "operator/modelyard/api/base.py").write_text("# edited\n")
    staged = tmp_path / "staged"
    staged.mkdir()
    taken.stage(staged, {})
    assert (staged / "operator/modelyard/api/base.py").read_text() == "x = 1\n"


def test_a_missing_file_is_named(root: Path) -> None:
    (root / "images/demo/requirements.txt").unlink()
    with pytest.raises(ImageError, match=r"images/demo/requirements\.txt.*'demo'"):
        snapshot(IMAGE, root)
