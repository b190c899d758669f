"""Become another program, tied to the life of the parent and stripped of root.

Promise: the program that is executed gets `--death-signal` when the thread that started it ends (Linux), runs as
`--uid`/`--gid` when they are given, and keeps at most one capability. Runs as a script of its own, because code
between fork and exec of a threaded parent may deadlock. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522
CAPABILITIES = {"override": 1, "search": 2}  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class CapabilityHeader(ctypes.Structure):
    """`struct __user_cap_header_struct` of capset(2)."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class CapabilitySets(ctypes.Structure):
    """`struct __user_cap_data_struct` of capset(2); the kernel takes two, for 64 bits."""

    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def libc() -> ctypes.CDLL:
    """The C library this interpreter already runs on."""
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: int) -> None:
    """prctl(2); raises OSError."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if libc().prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), "prctl", str(option))


def keep_only(capability: int) -> None:
    """Hold one capability in every set, the ambient one too, so that it survives exec; raises OSError."""
    header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    sets = (CapabilitySets * 2)(CapabilitySets(bit, bit, bit), CapabilitySets(0, 0, 0))
    if libc().capset(ctypes.byref(header), sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def permitted() -> int:
    """The capabilities this process may still use, as bits."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return next((int(line.split()[1], 16) for line in status if line.startswith("CapPrm:")), 0)


def drop_root(uid: int, gid: int, capability: str | None) -> None:
    """Become `uid`; with a capability, still pass directories closed to that account, without opening them.

    A container usually grants CAP_DAC_OVERRIDE and not CAP_DAC_READ_SEARCH, so the one stands in for the other.
    """
    if capability is not None:
        # access(2) ignores the capabilities of a plain account unless this bit is set, and PostgreSQL asks access(2)
        # about its own binaries. It needs CAP_SETPCAP; without it the engine itself says what it can't reach.
        with contextlib.suppress(OSError):
            prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
        prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if capability is not None:
        wanted = CAPABILITIES[capability]
        keep_only(wanted if permitted() >> wanted & 1 else CAPABILITIES["override"])


def main() -> None:
    """Parse, drop, bind to the parent, execute. Exit 125: the parent was gone; 126: not allowed; 127: no program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--death-signal", type=int, default=0)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--capability", choices=sorted(CAPABILITIES))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = [part for i, part in enumerate(options.command) if i or part != "--"]
    try:
        if options.uid is not None:
            drop_root(options.uid, options.gid, options.capability)
        if options.death_signal and sys.platform == "linux":
            # After the change of account, which clears it.
            prctl(PR_SET_PDEATHSIG, options.death_signal)
    except OSError as error:
        print(f"cannot start {command[0]}: {error}", file=sys.stderr, flush=True)
        sys.exit(126)
    if os.getppid() != options.parent:  # it died before the bond was made
        sys.exit(125)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts background jobs with it ignored
    try:
        os.execv(command[0], command)  # noqa: S606 - it is what this script is for
    except OSError as error:
        print(f"cannot start {command[0]}: {error}", file=sys.stderr, flush=True)
        sys.exit(127)


if __name__ == "__main__":
    main()
