"""Whose account PostgreSQL runs as: it refuses root."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class AccountError(Exception):
    """There is no account to run the engine as."""


@dataclass(frozen=True)
class Account:
    """An unprivileged account that exists already."""

    uid: int
    gid: int

    def may(self, path: Path, bit: int) -> bool:
        """Whether the mode of `path` grants this account `bit` (4 read, 2 write, 1 search or execute)."""
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return bool(status.st_mode >> shift & bit)

    def capability_for(self, program: Path, others: Iterable[Path]) -> str | None:
        """What the account needs to run `program` and to reach `others` (`override`, `search`), None when nothing."""
        if not (self.may(program, 1) and self.may(program, 4)):
            return "override"
        closed = any(not self.may(parent, 1) for path in (program, *others) for parent in path.resolve().parents)
        return "search" if closed else None


def unprivileged(data: Path) -> Account | None:
    """The account for a server that owns `data`: None when this process is not root and can be it itself.

    A directory that belongs to somebody already keeps its owner; otherwise it is `nobody`. Raises AccountError.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (status := data.stat()).st_uid != 0:
        return Account(status.st_uid, status.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise AccountError("PostgreSQL refuses to run as root and there is no account 'nobody'") from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def give(path: Path, account: Account | None) -> None:
    """Make `account` the owner of `path` and everything below."""
    if account is None:
        return
    os.chown(path, account.uid, account.gid, follow_symlinks=False)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(Path(folder, name), account.uid, account.gid, follow_symlinks=False)
