"""What is built, what is reused, and what a failure leaves behind."""

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from image_builder import ImageError, Progress, build, engines, plan
from image_builder.catalog import IMAGES, ROOT
from image_builder.engines import Stored
from image_builder.pipeline import USER

STORED = Stored("sha256:c0", 5, USER)


class Recorder:
    """A builder that keeps its images in a dictionary and writes real archives."""

    name = "recorder"

    def __init__(self) -> None:
        self.images: dict[str, Stored] = {}
        self.built: list[str] = []
        self.user = USER
        self.named: str | None = None

    def works(self) -> bool:
        return True

    def stored(self, tag: str) -> Stored | None:
        return STORED if "/library/" in tag else self.images.get(tag)

    def pull(self, tag: str, log: Path) -> bool:
        raise AssertionError("the base is there")

    def import_base(self, tarball: Path, tag: str, log: Path) -> None:
        raise AssertionError("the base is there")

    def build(
        self,
        tag: str,
        context: Path,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
        log: Path,
        line: Callable[[str], None],
    ) -> None:
        assert (context / "Dockerfile").is_file()
        line("STEP 1/1: FROM scratch")
        self.built.append(tag)
        self.images[tag] = Stored("sha256:c0", 5, self.user)

    def save(self, tag: str, archive: Path, log: Path) -> None:
        manifest = [{"Config": "c0.json", "RepoTags": [self.named or tag], "Layers": []}]
        config = {"config": {"User": USER}}
        with tarfile.open(archive, "w") as tar:
            for name, value in {"manifest.json": manifest, "c0.json": config}.items():
                content = json.dumps(value).encode()
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    recorder = Recorder()
    monkeypatch.setitem(engines.ENGINES, "recorder", lambda: recorder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return recorder


def test_an_unchanged_image_is_neither_built_nor_archived_again(
    recorder: Recorder, tmp_path: Path
) -> None:
    first = build(["operator"], tmp_path / "out", engine="recorder")["operator"]
    assert recorder.built == [first.tag] == [plan(["operator"])["operator"]]
    assert first.archive is not None
    written = first.archive.stat().st_mtime_ns
    again = build(["operator"], tmp_path / "out", engine="recorder")["operator"]
    assert again.reused
    assert again.archive == first.archive
    assert again.archive.stat().st_mtime_ns == written
    assert recorder.built == [first.tag]


def test_an_archive_is_enough_where_the_builder_has_forgotten_the_image(
    recorder: Recorder, tmp_path: Path
) -> None:
    build(["operator"], tmp_path, engine="recorder")
    recorder.images.clear()
    assert build(["operator"], tmp_path, engine="recorder")["operator"].reused


def test_a_damaged_archive_is_written_anew(recorder: Recorder, tmp_path: Path) -> None:
    archive = build(["operator"], tmp_path, engine="recorder")["operator"].archive
    assert archive is not None
    whole = archive.read_bytes()
    archive.write_bytes(whole[:600])
    assert not build(["operator"], tmp_path, engine="recorder")["operator"].reused
    assert archive.read_bytes() == whole


def test_nothing_more_is_begun_after_a_failure(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image_builder.pipeline._SIDE_BY_SIDE", 1)
    recorder.user = ""
    with pytest.raises(ImageError, match=r"'trainer' runs as 'root'"):
        build(engine="recorder")
    assert [tag.split("/")[2].split(":")[0] for tag in recorder.built] == ["trainer"]


def test_all_images_are_built_side_by_side_and_reported(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from image_builder import pipeline

    tool = tmp_path / "versitygw"
    tool.write_bytes(b"x")
    monkeypatch.setattr(pipeline, "_tool", lambda _name, _tell: tool)
    seen: list[Progress] = []
    refs = build(progress=seen.append, engine="recorder")
    assert set(refs) == set(IMAGES)
    assert {progress.image for progress in seen if progress.state == "ready"} == set(IMAGES)
    assert any((progress.step, progress.steps) == (1, 1) for progress in seen)


def test_an_image_that_runs_as_root_is_refused(recorder: Recorder) -> None:
    recorder.user = ""
    with pytest.raises(ImageError, match="runs as 'root'"):
        build(["worker"], engine="recorder")


def test_an_archive_under_another_name_is_not_kept(recorder: Recorder, tmp_path: Path) -> None:
    recorder.named = "localhost/operator:dev"
    with pytest.raises(ImageError, match="localhost/operator:dev"):
        build(["operator"], tmp_path / "out", engine="recorder")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_image_is_refused_before_anything_is_built(recorder: Recorder) -> None:
    with pytest.raises(ImageError, match="no image 'trainr'"):
        build(["operator", "trainr"], engine="recorder")
    assert recorder.built == []


def _cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(ROOT / "images/build.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line_lists_without_building() -> None:
    done = _cli("--list", "operator", "store")
    assert done.returncode == 0, done.stderr
    names = [line.split()[1] for line in done.stdout.splitlines()]
    assert names == list(plan(["operator", "store"]).values())


def test_the_command_line_explains_a_wrong_name() -> None:
    done = _cli("nosuch")
    assert done.returncode == 1
    assert done.stderr.startswith("error: There is no image 'nosuch'")
    assert "Traceback" not in done.stderr


def test_a_terminated_build_ends_its_builder_and_keeps_no_secrets(tmp_path: Path) -> None:
    started = tmp_path / "started"
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin/docker"
    docker.write_text(
        "#!/bin/sh\n"
        "case $1 in info) exit 0;; image) case $3 in */library/*) echo "
        '\'[{"Id": "c0", "Size": 5, "Config": {}}]\'; exit 0;; esac; exit 1;;\n'
        f"build) echo $$ > {started}; exec sleep 60;; esac\n"
    )
    docker.chmod(0o755)
    environment = {
        "PATH": f"{docker.parent}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),
        "HOME": str(tmp_path),
        "PIP_INDEX_URL": "https://me:secret@host/simple",
    }
    command = [sys.executable, str(ROOT / "images/build.py"), "operator"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while not (started.is_file() and started.read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("error: interrupted")
    assert not Path(f"/proc/{started.read_text().strip()}").exists()
    assert list(tmp_path.glob("modelyard-*")) == []
