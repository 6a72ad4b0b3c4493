"""Takes the network away from a process before it runs code that nobody has read.

A `.pt` file is a pickle, and loading it may run any code. Containers of one pod share a network
namespace, so a NetworkPolicy cannot tell the container that loads the weights from the one that
uploads the result. A seccomp filter can: it applies to this process and everything that it starts,
cannot be removed, and needs no privileges under `allowPrivilegeEscalation: false`.

The filter refuses `socket` for every family but AF_UNIX (data loaders pass file descriptors over
it), and io_uring, which opens sockets past the filter. What else the container lacks (credentials,
a token, the labels, write access to what is judged): core/stages.py.

https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
from dataclasses import dataclass

from modelyard.workloads.errors import RetryableError

UNAVAILABLE = "IsolationUnavailable"

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | 13, 0x80000000  # 13 is EACCES
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data; both machines are little-endian."""
_X32 = 0x40000000
"""Numbers from here on are x32's second set of system calls; no call on arm64 is that high."""


@dataclass(frozen=True)
class _Machine:
    """Numbers of a machine's system calls."""

    audit: int
    socket: int
    seccomp: int
    io_uring_setup: int = 425


_MACHINES = {
    "x86_64": _Machine(audit=0xC000003E, socket=41, seccomp=317),
    "aarch64": _Machine(audit=0xC00000B7, socket=198, seccomp=277),
}


class _Instruction(ctypes.Structure):
    """One instruction: struct sock_filter."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("yes", ctypes.c_uint8),
        ("no", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    """A filter: struct sock_fprog."""

    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def cut_network() -> None:
    """Leave this process and its children without a network, for good.

    Raises RetryableError IsolationUnavailable where the kernel does not take the filter: then the
    weights are not loaded at all.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise _unavailable(f"there is no filter for {platform.machine()} machines")
    instructions = _instructions(machine)
    program = _Program(len(instructions), instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))):
        raise _unavailable(os.strerror(ctypes.get_errno()))
    number = ctypes.c_long(machine.seccomp)
    if libc.syscall(number, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program)):
        raise _unavailable(os.strerror(ctypes.get_errno()))
    try:
        socket.socket().close()
    except PermissionError:
        return
    raise _unavailable("a socket could still be opened")


def _instructions(machine: _Machine) -> ctypes.Array[_Instruction]:
    # Jumps count the instructions that they skip.
    rows = (
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 5, 0, _X32),
        (_EQUAL, 4, 0, machine.io_uring_setup),
        (_EQUAL, 0, 2, machine.socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, socket.AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    )
    return (_Instruction * len(rows))(*(_Instruction(*row) for row in rows))


def _unavailable(why: str) -> RetryableError:
    return RetryableError(
        UNAVAILABLE,
        f"this node cannot take the network away from the process that loads the weights ({why}), "
        "so they were not loaded: use a node whose kernel has seccomp filters",
    )
