"""What is written beside a backup, and read before it is restored."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Contents(BaseModel):
    """What a database holds, as far as it can be counted."""

    model_config = ConfigDict(extra="forbid")

    revision: str
    rows: dict[str, int]
    constraints: list[str]
    indexes: list[str]
    triggers: list[str]


class Manifest(BaseModel):
    """One backup. It is stored last: a dump without it is none.

    `size` and `sha256` are those of the stored bytes, `taken_at` is the moment of the snapshot that both the dump and
    `contents` were read in. `roles` are those that privileges were granted to.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")
    taken_at: datetime
    app_version: str
    server_major: int
    database: str
    encrypted: bool
    size: int
    sha256: str
    contents: Contents
    roles: list[str]
