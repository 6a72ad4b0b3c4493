"""Which builder is taken, and what it is told; the builders are small programs on PATH."""

from pathlib import Path

import pytest
from image_builder import engines
from image_builder.errors import ImageError
from image_builder.progress import parse_step


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_first_that_works_is_taken(programs: Path) -> None:
    _program(programs, "docker", "exit 1  # the client alone, no engine")
    _program(programs, "buildah", "exit 0")
    assert engines.detect().name == "buildah"
    _program(programs, "podman", "exit 0")
    assert engines.detect().name == "podman"
    _program(programs, "docker", "exit 0")
    assert engines.detect().name == "docker"


def test_a_wanted_builder_is_not_replaced_by_another(programs: Path) -> None:
    _program(programs, "buildah", "exit 0")
    with pytest.raises(ImageError, match="docker does not work here"):
        engines.detect("docker")


def test_without_any_the_message_says_what_to_do(programs: Path) -> None:
    with pytest.raises(ImageError, match="install buildah"):
        engines.detect()


def test_an_unknown_builder_is_refused(programs: Path) -> None:
    with pytest.raises(ImageError, match=r"no image builder 'kaniko'.*docker, podman, buildah"):
        engines.detect("kaniko")


def test_buildah_is_installed_where_nothing_works(programs: Path) -> None:
    def install() -> bool:
        _program(programs, "buildah", "exit 0")
        return True

    assert engines.detect(install=install).name == "buildah"


def test_a_store_that_refuses_overlay_falls_back(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_DRIVER", raising=False)
    _program(programs, "buildah", '[ -z "$STORAGE_DRIVER" ]')
    assert engines.detect("buildah").name == "buildah"


def test_a_failed_build_quotes_its_output_and_names_the_log(programs: Path, tmp_path: Path) -> None:
    _program(programs, "docker", 'echo "ERROR: no space left on device"; exit 17')
    log = tmp_path / "logs" / "operator.log"
    with pytest.raises(ImageError) as caught:
        engines.Docker().build("x:1", tmp_path, {}, {}, log, lambda _line: None)
    message = str(caught.value)
    assert "exit 17" in message
    assert "no space left on device" in message
    assert str(log) in message
    assert "no space left" in log.read_text()


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("STEP 3/14: RUN apt-get update  && true", (3, 14, "RUN apt-get update && true")),
        ("[1/2] STEP 2/5: COPY a b", (2, 5, "COPY a b")),
        ("#7 [3/9] RUN pip install", (3, 9, "RUN pip install")),
        ("#7 [build  3/9] RUN pip install", (3, 9, "RUN pip install")),
        ("Get:3 http://deb.debian.org/debian", None),
        ("#7 DONE 0.1s", None),
    ],
)
def test_steps_are_found_in_every_builders_output(
    line: str, want: tuple[int, int, str] | None
) -> None:
    assert parse_step(line) == want
