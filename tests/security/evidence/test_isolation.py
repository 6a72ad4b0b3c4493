"""Code in a `.pt` file against the network, with the kernel's own filter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from modelyard.workloads import isolation
from modelyard.workloads.errors import RetryableError

ATTACK = """
import socket, sys
from modelyard.workloads import isolation
isolation.cut_network()
"""
REFUSED = "Permission denied"


def attack(program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process whose network has been cut, as a pickle's code would run."""
    return subprocess.run(
        [sys.executable, "-c", ATTACK + program],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "program",
    [
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_INET6)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "socket.socket(socket.AF_VSOCK)",
        "import urllib.request; urllib.request.urlopen('http://169.254.169.254/')",
        "import threading; [f() for f in [socket.socket]]",
    ],
)
def test_no_socket_leads_out(program: str) -> None:
    done = attack(program)
    assert done.returncode == 1
    assert REFUSED in done.stderr


def test_a_child_and_a_thread_have_no_network_either() -> None:
    child = "import subprocess\nprint(subprocess.run([sys.executable, '-c', 'import socket; "
    child += "socket.socket()'], capture_output=True, text=True).stderr)"
    assert REFUSED in attack(child).stdout
    thread = """
import threading
def work():
    try:
        socket.socket(); print("open")
    except PermissionError:
        print("refused")
one = threading.Thread(target=work); one.start(); one.join()
"""
    assert attack(thread).stdout == "refused\n"


def test_a_thread_that_was_there_before_has_none() -> None:
    program = """
import socket, threading
from modelyard.workloads import isolation
go, found = threading.Event(), []
def work():
    go.wait()
    try:
        socket.socket(); found.append("open")
    except PermissionError:
        found.append("refused")
one = threading.Thread(target=work); one.start()
isolation.cut_network()
go.set(); one.join(); print(*found)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "refused\n"


def test_io_uring_is_no_way_round() -> None:
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
found = libc.syscall(425, 8, ctypes.create_string_buffer(256))
print(found, ctypes.get_errno())
"""
    # 13 is EACCES, the filter's own answer: an unknown call would be ENOSYS.
    assert attack(program).stdout == "-1 13\n"


def test_what_data_loaders_need_still_works() -> None:
    program = """
import multiprocessing.connection as mc, tempfile, os
socket.socketpair()
path = os.path.join(tempfile.mkdtemp(), "s")
listener = mc.Listener(path, "AF_UNIX"); client = mc.Client(path); print("works")
"""
    assert attack(program).stdout == "works\n"


def test_without_a_filter_for_the_machine_nothing_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolation.platform, "machine", lambda: "s390x")
    with pytest.raises(RetryableError, match="s390x") as caught:
        isolation.cut_network()
    assert caught.value.reason == "IsolationUnavailable"
