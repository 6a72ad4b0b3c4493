"""Archives of strangers: what is unpacked, and what is refused by the member's name."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from modelyard.workloads.data.errors import DatasetError
from modelyard.workloads.data.limits import GIB, MIB, Limits
from modelyard.workloads.data.unpack import is_archive, unpack

LIMITS = Limits()


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def tarred(path: Path, *members: tuple[str, bytes | str | None], mode: str = "w") -> Path:
    """Bytes make a file, text a symbolic link, `=text` a hard link, None a pipe."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
                continue
            info.type = tarfile.FIFOTYPE if content is None else tarfile.SYMTYPE
            info.linkname = content or ""
            if content and content.startswith("="):
                info.type, info.linkname = tarfile.LNKTYPE, content[1:]
            archive.addfile(info)
    return path


def zip_link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target.encode()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_zip(tmp_path: Path, out: Path) -> None:
    archive = zipped(tmp_path / "a", ("data.yaml", b"names"), ("a/b/", b""), ("./a/b/c", b"x"))
    assert is_archive(archive)
    assert unpack(archive, out, LIMITS) == 2
    assert (out / "data.yaml").read_bytes() == b"names"
    assert (out / "a/b/c").read_bytes() == b"x"


def test_backslashes_of_windows_tools(tmp_path: Path, out: Path) -> None:
    unpack(zipped(tmp_path / "a.zip", ("images\\train\\a.png", b"x")), out, LIMITS)
    assert (out / "images/train/a.png").is_file()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar(mode: str, tmp_path: Path, out: Path) -> None:
    archive = tarred(tmp_path / "a", ("./x/data.yaml", b"names"), mode=mode)
    assert is_archive(archive)
    assert unpack(archive, out, LIMITS) == 1
    assert (out / "x/data.yaml").read_bytes() == b"names"


def test_a_tar_that_holds_a_zip_is_a_tar(tmp_path: Path, out: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", ("x", b"x")).read_bytes()
    unpack(tarred(tmp_path / "a.tar", ("inner.zip", inner)), out, LIMITS)
    assert (out / "inner.zip").read_bytes() == inner


def test_links_that_stay_inside(tmp_path: Path, out: Path) -> None:
    archive = tarred(
        tmp_path / "a.tar", ("b/link", "../a/file"), ("b/hard", "=a/file"), ("a/file", b"x")
    )
    unpack(archive, out, LIMITS)
    assert (out / "b/link").read_bytes() == b"x"
    assert (out / "b/hard").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a/../b", "C:\\evil"])
def test_a_path_that_leads_outside(name: str, tmp_path: Path, out: Path) -> None:
    make_tar = "\\" not in name
    archives = [zipped(tmp_path / "a.zip", (name, b"x"))]
    archives += [tarred(tmp_path / "a.tar", (name, b"x"))] if make_tar else []
    for archive in archives:
        with pytest.raises(DatasetError, match=r"evil|b") as caught:
            unpack(archive, out, LIMITS)
        assert caught.value.reason == "PathEscape"
    assert not (tmp_path / "evil").exists()


ESCAPES: dict[str, list[tuple[str, str]]] = {
    "absolute": [("link", "/etc/passwd")],
    "parent": [("link", "../outside")],
    "by another link": [("a/b/up", "../.."), ("link", "a/b/up/../..")],
}


@pytest.mark.parametrize("links", ESCAPES.values(), ids=ESCAPES.keys())
def test_a_link_that_leads_outside(links: list[tuple[str, str]], tmp_path: Path, out: Path) -> None:
    for archive in (
        tarred(tmp_path / "a.tar", *links),
        zipped(tmp_path / "a.zip", *(zip_link(*link) for link in links)),
    ):
        with pytest.raises(DatasetError, match=r"'link'.*outside") as caught:
            unpack(archive, out, LIMITS)
        assert caught.value.reason == "PathEscape"
        assert not any(path.is_symlink() for path in out.rglob("*"))


def test_a_file_is_not_written_through_a_link(tmp_path: Path, out: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tarred(tmp_path / "a.tar", ("dir", str(outside)), ("dir/evil", b"x"))
    with pytest.raises(DatasetError, match="dir"):
        unpack(archive, out, LIMITS)
    assert not list(outside.iterdir())


@pytest.mark.parametrize("target", ["=/etc/passwd", "=../x", "=missing"])
def test_a_hard_link_to_what_is_not_in_the_archive(target: str, tmp_path: Path, out: Path) -> None:
    with pytest.raises(DatasetError, match="'hard'"):
        unpack(tarred(tmp_path / "a.tar", ("hard", target)), out, LIMITS)


def test_a_pipe(tmp_path: Path, out: Path) -> None:
    with pytest.raises(DatasetError, match="'fifo' is a device or a pipe"):
        unpack(tarred(tmp_path / "a.tar", ("fifo", None)), out, LIMITS)


def test_a_zip_bomb_is_stopped_while_it_unpacks(tmp_path: Path, out: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("small", b"x"), ("bomb", b"\0" * (64 * MIB)))
    limits = Limits(ratio_floor=8 * MIB)
    with pytest.raises(DatasetError, match=r"'bomb' unpacks .* zip bomb"):
        unpack(archive, out, limits)
    assert (out / "bomb").stat().st_size < 10 * MIB


@pytest.mark.parametrize("make", [zipped, tarred])
def test_too_many_bytes_and_files(make: object, tmp_path: Path, out: Path) -> None:
    members = (("a", b"x" * 600), ("b", b"x" * 600), ("c", b"x"))
    archive = make(tmp_path / "a", *members)  # type: ignore[operator]
    with pytest.raises(DatasetError, match=r"'b' makes the archive larger than 1000 B"):
        unpack(archive, out, Limits(unpacked_bytes=1000))
    with pytest.raises(DatasetError, match=r"'c' is one more than 2 files"):
        unpack(archive, out, Limits(files=2))


def test_a_declared_size_that_lies_does_not_help(tmp_path: Path, out: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("bomb", b"\0" * (4 * MIB)))
    content = archive.read_bytes()
    # The uncompressed size in both headers, little endian.
    archive.write_bytes(content.replace((4 * MIB).to_bytes(4, "little"), b"\x0a\0\0\0"))
    with pytest.raises(DatasetError):
        unpack(archive, out, Limits(unpacked_bytes=MIB))
    assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) <= MIB


def test_damaged_archives(tmp_path: Path, out: Path) -> None:
    noise = os.urandom(200_000)
    for archive in (
        zipped(tmp_path / "a.zip", ("first", noise), ("second", noise)),
        tarred(tmp_path / "a.tar.gz", ("first", noise), ("second", noise), mode="w:gz"),
    ):
        content = bytearray(archive.read_bytes())
        content[150_000:150_100] = bytes(100)
        archive.write_bytes(content)
        with pytest.raises(DatasetError, match="damaged") as caught:
            unpack(archive, out, LIMITS)
        assert caught.value.reason == "CorruptArchive"


def test_a_truncated_tar(tmp_path: Path, out: Path) -> None:
    archive = tarred(tmp_path / "a.tar", ("first", b"x" * 5000), ("second", b"x" * 5000))
    archive.write_bytes(archive.read_bytes()[:7000])
    with pytest.raises(DatasetError, match="second"):
        unpack(archive, out, LIMITS)


def test_an_encrypted_zip(tmp_path: Path, out: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("secret", b"x"))
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match="'secret' is encrypted"):
        unpack(archive, out, LIMITS)


def test_a_name_that_is_too_long(tmp_path: Path, out: Path) -> None:
    with pytest.raises(DatasetError, match="no file here can have"):
        unpack(zipped(tmp_path / "a.zip", ("x" * 300, b"x")), out, LIMITS)


def test_a_name_that_is_a_file_and_a_folder(tmp_path: Path, out: Path) -> None:
    with pytest.raises(DatasetError, match="'a/b' is a folder and a file"):
        unpack(zipped(tmp_path / "a.zip", ("a", b"x"), ("a/b", b"x")), out, LIMITS)


def test_what_is_no_archive(tmp_path: Path, out: Path) -> None:
    page = tmp_path / "page.zip"
    page.write_text("<html>please log in</html>")
    assert not is_archive(page)
    with pytest.raises(DatasetError, match="neither a zip nor a tar"):
        unpack(page, out, LIMITS)


def test_the_limits_follow_the_free_disk_space(tmp_path: Path) -> None:
    assert Limits(unpacked_bytes=1 << 60).within(tmp_path).unpacked_bytes < 1 << 60
    assert Limits(unpacked_bytes=5).within(tmp_path).unpacked_bytes == 5
    assert LIMITS.ratio_floor <= GIB


@pytest.mark.parametrize(
    "content",
    [
        b"BZh91AY&SYY{\xb8\xe4\x00\x00\x14P\x00\xc0\x00\x04\x00\x00\x08 \x000\xcc\x05)\xa6"
        b"\x13b'\x8b\xb9\xff\x9c(H,\xbd\xdcr\x00",
        b"PK\x05\x06" + bytes(8) + b"\xff\xff\xff\x7f\xff\xff\xff\x7f\0\0",
    ],
    ids=["bzip2", "a zip with a directory before its beginning"],
)
def test_damaged_streams_are_the_archives_fault(tmp_path: Path, out: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DatasetError, match=r"is damaged|is neither"):
        unpack(tmp_path / "a", out, LIMITS)


def test_no_folder_is_made_through_a_link(tmp_path: Path, out: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tarred(tmp_path / "a", ("way", str(outside)), ("way/deep/er/link", "x"))
    with pytest.raises(DatasetError, match="member 'way/deep/er/link' lies behind a link"):
        unpack(archive, out, LIMITS)
    assert list(outside.iterdir()) == []


def test_a_link_that_was_there_before_leads_nowhere(tmp_path: Path, out: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    out.mkdir()
    (out / "way").symlink_to(outside)
    (out / "file").symlink_to(outside / "file")
    for member in ("way/new", "way/deep/new", "file"):
        with pytest.raises(DatasetError, match="behind a link"):
            unpack(zipped(tmp_path / "a", (member, b"x")), out, LIMITS)
    assert [one.name for one in outside.iterdir()] == ["file"]
    assert (outside / "file").read_bytes() == b"precious"


@pytest.mark.parametrize("link", [("a" * 300, "x"), ("a", "x" * 5000), ("a", "")])
def test_links_that_no_file_system_takes_are_the_archives_fault(
    tmp_path: Path, out: Path, link: tuple[str, str]
) -> None:
    with pytest.raises(DatasetError, match="member"):
        unpack(zipped(tmp_path / "a", zip_link(*link)), out, LIMITS)
