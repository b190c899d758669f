"""The clinic, and what it reaches in the outer world."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator

from app.config.common import Concern


class ClinicSettings(Concern):
    name: str = "Frontdesk Clinic"
    timezone: str = "Europe/Berlin"

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("must be an IANA time zone, e.g. Europe/Berlin") from error
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class MailSettings(Concern):
    backend: Literal["file", "smtp"] = "file"
    directory: Path = Path("var/mail")
    sender: str = "Frontdesk <frontdesk@example.com>"
    host: str = ""
    port: int = Field(default=587, ge=1, le=65535)
    username: str = ""
    password: SecretStr = SecretStr("")
    security: Literal["none", "starttls", "tls"] = "starttls"
    timeout: float = Field(default=10, gt=0, description="seconds")

    def production_faults(self) -> Iterator[str]:
        if self.backend != "smtp":
            yield "MAIL_BACKEND: must be smtp; `file` only writes to a folder"
        elif not self.host:
            yield "MAIL_HOST: is missing"
        if self.sender.endswith("@example.com>"):
            yield "MAIL_SENDER: is the development default; set your own"


class StorageSettings(Concern):
    directory: Path = Path("var/storage")
