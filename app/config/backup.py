"""Backups of the database (docs/decisions/0090)."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from app.config.common import Concern, SecretList

MIN_KEY_BYTES = 32


class BackupSettings(Concern):
    """Where backups go, how often, and for how long. A directory or bucket belongs to one database."""

    directory: Path = Path("var/backups")
    bucket: str = Field(default="", description="unset: the directory; else in S3, as STORAGE_* reaches it")
    keys: SecretList = Field(default=[], description="newest first: the first encrypts; unset: not encrypted")
    programs: Path | None = Field(default=None, description="where pg_dump and pg_restore are; unset: found")
    every_hours: float = Field(default=24, gt=0, description="between two backups of `backup --loop`")
    keep_daily: int = Field(default=7, ge=1, description="days of which the newest backup is kept")
    keep_weekly: int = Field(default=5, ge=0, description="weeks of which the newest backup is kept")

    def faults(self) -> Iterator[str]:
        if any(len(key.get_secret_value().encode()) < MIN_KEY_BYTES for key in self.keys):
            yield f"BACKUP_KEYS: each must have at least {MIN_KEY_BYTES} bytes; `openssl rand -base64 48` makes one"
