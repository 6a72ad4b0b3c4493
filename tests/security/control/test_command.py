"""Triton's command line as the shell runs it, for our image and for the vendor's.

Real: the shell and its tools. Instead of Triton a program that prints its arguments: the vendor's
image does not run here.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from modelyard.contract.control import HEADER, KEY_FILE_ENV
from modelyard.core.deployment import tritoncommand

CATEGORIES = {"model-repository", "statistics", "shared-memory", "trace", "logging"}


@pytest.fixture
def start(tmp_path: Path):
    """Runs the command; returns the arguments that Triton gets."""
    program = tmp_path / "tritonserver"
    program.write_text('#!/bin/sh\nprintf \'%s\\n\' "$0" "$@"\n')
    program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        KEY_FILE_ENV: str(tmp_path / "key"),
    }

    def run() -> list[str]:
        command = [*tritoncommand.command(), *tritoncommand.arguments(), "--model=a b"]
        done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=20)
        assert done.stderr == b""
        return done.stdout.decode().splitlines()

    return run


def restrictions(arguments: list[str], option: str) -> dict[str, tuple[str, str]]:
    """Header and value by category."""
    found: dict[str, tuple[str, str]] = {}
    for one in arguments:
        if match := re.fullmatch(rf"--{option}=([a-z,-]+):([a-z-]+)=(\S+)", one):
            found |= dict.fromkeys(match[1].split(","), (match[2], match[3]))
    return found


def test_all_that_clients_do_not_need_is_closed(start, tmp_path: Path) -> None:
    arguments = start()

    key = (tmp_path / "key").read_text().strip()
    http = restrictions(arguments, "http-restricted-api")
    grpc = restrictions(arguments, "grpc-restricted-protocol")
    assert set(http) == set(grpc) == CATEGORIES
    assert {name for name, (header, value) in grpc.items() if value == key} == {
        "model-repository", "statistics",
    }  # fmt: skip
    assert all(header == HEADER for header, value in grpc.values() if value == key)
    assert key not in {value for _, value in http.values()}
    assert arguments[-4] == "--model=a b"
    assert arguments[1:-4] == tritoncommand.arguments()


def test_the_key_stays_while_the_pod_lives_and_closed_doors_have_a_new_one(
    start, tmp_path: Path
) -> None:
    first, second = start(), start()

    keys = [
        restrictions(one, "grpc-restricted-protocol")["statistics"][1] for one in (first, second)
    ]
    assert keys[0] == keys[1] == (tmp_path / "key").read_text().strip()
    closed = {
        value
        for one in (first, second)
        for option in ("http-restricted-api", "grpc-restricted-protocol")
        for header, value in restrictions(one, option).values()
        if header == tritoncommand.CLOSED
    }
    assert len(closed) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in {*closed, *keys})


def test_a_key_that_was_not_finished_is_made_anew(start, tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    (tmp_path / "key.part").write_text("abc")
    os.chmod(tmp_path / "key.part", 0o400)

    start()

    assert len((tmp_path / "key").read_text().strip()) == 64
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o440
