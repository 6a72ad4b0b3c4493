"""Unpacks zip and tar archives of strangers: nothing leaves the directory, nothing fills the disk.

Members are written one by one with their actual bytes counted, since the sizes that an archive
declares are as untrusted as its names. Links are made last, when no file can be written through
them any more, and only stay if they lead to something inside. Nothing is ever made through one.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from modelyard.workloads.data.errors import DatasetError
from modelyard.workloads.data.limits import Limits, human

PIECE = 1024 * 1024
NAME_SHOWN = 200
_ENCRYPTED = 0x1
_LINK_TYPE = 0o120000
_TYPE_MASK = 0o170000

_CORRUPT = (
    EOFError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    UnicodeError,
    ValueError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
)


def is_archive(path: Path) -> bool:
    """Whether the file is a zip or a tar, compressed or not, whatever its name."""
    return _is_tar(path) or zipfile.is_zipfile(path)


def unpack(archive: Path, directory: Path, limits: Limits, label: str | None = None) -> int:
    """Unpack into `directory`; returns the number of files. `label` names the archive in messages.

    Raises DatasetError naming the member that is at fault: a path or link that leads outside, a
    device, an encrypted or damaged member, or one that breaks a limit.
    """
    label = label or archive.name
    directory.mkdir(parents=True, exist_ok=True)
    target = _Target(directory.resolve(), label, limits, max(1, archive.stat().st_size))
    with _readable(label):
        # Tar first: a tar that holds a zip can look like a zip from its end, never the reverse.
        if _is_tar(archive):
            _unpack_tar(archive, target)
        elif zipfile.is_zipfile(archive):
            _unpack_zip(archive, target)
        else:
            raise DatasetError("NoArchive", f"{label} is neither a zip nor a tar archive")
    target.make_links()
    return target.count


@dataclass
class _Target:
    root: Path
    label: str
    limits: Limits
    archive_bytes: int
    count: int = 0
    written: int = 0
    links: list[tuple[str, Path, str, bool]] = field(default_factory=list)
    """Member, its path, what it leads to, whether hard."""
    folders: set[Path] = field(default_factory=set)
    """Folders that are known to be real ones: a link never replaces a folder."""

    def fail(self, reason: str, member: str, what: str) -> DatasetError:
        shown = member if len(member) <= NAME_SHOWN else member[: NAME_SHOWN - 1] + "…"
        return DatasetError(reason, f"{self.label}: member {shown!r} {what}")

    def path(self, member: str, name: str) -> Path:
        """Where a member goes. Raises DatasetError if that is outside."""
        if name.startswith("/") or (len(name) > 1 and name[1] == ":" and name[0].isalpha()):
            raise self.fail("PathEscape", member, "has an absolute path")
        parts = [part for part in PurePosixPath(name).parts if part != "."]
        if ".." in parts:
            raise self.fail("PathEscape", member, "leads outside the archive's folder")
        if any("\0" in part for part in parts):
            raise self.fail("CorruptArchive", member, "has a name that no file can have")
        return self.root.joinpath(*parts)

    def admit(self, member: str) -> None:
        """Count one more member. Raises DatasetError if there are too many."""
        self.count += 1
        if self.count > self.limits.files:
            raise self.fail(
                "ArchiveTooLarge", member, f"is one more than {self.limits.files} files"
            )

    def make_directory(self, path: Path, member: str) -> None:
        """Make a folder and those above it, none of them through a link: what a link leads to may
        lie outside. Raises DatasetError."""
        made = []
        try:
            for folder in (path, *path.parents):
                if folder in self.folders or folder == self.root:
                    break
                if folder.is_symlink():
                    raise self.fail("PathEscape", member, "lies behind a link")
                made.append(folder)
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._bad_name(member, error) from error
        self.folders.update(made)

    def _bad_name(self, member: str, error: OSError) -> Exception:
        if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
            return self.fail("CorruptArchive", member, "is a folder and a file")
        if error.errno == errno.ELOOP:
            return self.fail("PathEscape", member, "is behind a link")
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOENT):
            return self.fail("CorruptArchive", member, "has a name that no file here can have")
        return error

    def write(self, member: str, path: Path, source: IO[bytes]) -> None:
        """Write one file. Raises DatasetError naming it if it is the one that is too much."""
        self.admit(member)
        self.make_directory(path.parent, member)
        try:
            # Not through a link that was there before.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            opened = os.fdopen(os.open(path, flags, 0o666), "wb")
        except OSError as error:
            raise self._bad_name(member, error) from error
        with opened as file:
            while piece := source.read(PIECE):
                self.written += len(piece)
                self._check_size(member)
                file.write(piece)

    def _check_size(self, member: str) -> None:
        limits = self.limits
        if self.written > limits.unpacked_bytes:
            raise self.fail(
                "ArchiveTooLarge",
                member,
                f"makes the archive larger than {human(limits.unpacked_bytes)} unpacked, the pod's "
                "resources.ephemeralStorage or the free space of the node's disk",
            )
        if self.written > limits.ratio_floor and (self.written > limits.ratio * self.archive_bytes):
            raise self.fail(
                "ArchiveTooLarge",
                member,
                f"unpacks {human(self.written)} from an archive of {human(self.archive_bytes)}, "
                f"more than {limits.ratio:.0f} times its size: this looks like a zip bomb",
            )

    def make_links(self) -> None:
        """Make the links that the archive has, then see that each leads inside."""
        symlinks = []
        for member, path, to, hard in self.links:
            self.make_directory(path.parent, member)
            try:
                if path.is_dir() and not path.is_symlink():
                    raise self.fail("CorruptArchive", member, "is a folder and a link")
                path.unlink(missing_ok=True)
                if hard:
                    self._hard_link(member, path, to)
                else:
                    path.symlink_to(to)
                    symlinks.append((member, path))
            except OSError as error:
                raise self._bad_name(member, error) from error
        for member, path in symlinks:
            # Only now: what a link leads to depends on the other links.
            if not Path(os.path.realpath(path)).is_relative_to(self.root):
                for _, link in symlinks:
                    link.unlink(missing_ok=True)
                raise self.fail("PathEscape", member, "is a link that leads outside the archive")

    def _hard_link(self, member: str, path: Path, to: str) -> None:
        source = self.path(member, to)
        if source.is_symlink() or source.resolve() != source or not source.is_file():
            raise self.fail("CorruptArchive", member, f"is a link to {to!r}, which is not a file")
        path.hardlink_to(source)


def _unpack_zip(archive: Path, target: _Target) -> None:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            member = info.filename
            # Some Windows tools write backslashes, which no dataset has in a name.
            path = target.path(member, member.replace("\\", "/"))
            if info.flag_bits & _ENCRYPTED:
                raise target.fail("CorruptArchive", member, "is encrypted")
            with _readable(target.label, member):
                if member.endswith(("/", "\\")):
                    target.make_directory(path, member)
                elif (info.external_attr >> 16) & _TYPE_MASK == _LINK_TYPE:
                    target.admit(member)
                    if info.file_size > os.pathconf("/", "PC_PATH_MAX"):
                        raise target.fail("CorruptArchive", member, "is a link without a target")
                    target.links.append((member, path, os.fsdecode(file.read(info)), False))
                else:
                    with file.open(info) as source:
                        target.write(member, path, source)


def _unpack_tar(archive: Path, target: _Target) -> None:
    with tarfile.open(archive, "r:*") as file:
        for info in file:
            member = info.name
            path = target.path(member, member)
            if info.isdir():
                target.make_directory(path, member)
            elif info.issym() or info.islnk():
                target.admit(member)
                target.links.append((member, path, info.linkname, info.islnk()))
            elif info.isreg():
                with _readable(target.label, member):
                    source = file.extractfile(info)
                    if source is None:
                        raise target.fail("CorruptArchive", member, "has no content")
                    target.write(member, path, source)
            else:
                raise target.fail("PathEscape", member, "is a device or a pipe, not a file")
        # A compressed tar's checksum comes after its last member, where nobody has read yet.
        rest = target.limits.ratio_floor
        while rest > 0 and file.fileobj and (piece := file.fileobj.read(PIECE)):
            rest -= len(piece)


@contextmanager
def _readable(label: str, member: str | None = None) -> Iterator[None]:
    where = f"{label}: member {member[:NAME_SHOWN]!r}" if member else label
    try:
        yield
    except (*_CORRUPT, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # The disk's fault. Damaged streams have no number, damaged offsets EINVAL.
        detail = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            "CorruptArchive", f"{where} is damaged ({detail}); make the archive again"
        ) from error


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (*_CORRUPT, OSError):
        return False
