"""The clinic, and what it reaches in the outer world."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator

from app.config.common import Concern, is_address
from app.config.exposure import is_loopback, is_plain_to_public


class ClinicSettings(Concern):
    name: str = "Frontdesk Clinic"
    timezone: str = "Europe/Berlin"
    max_booked: int = Field(
        default=0, ge=0, description="appointments that a client may have to come, made by themselves; 0: any number"
    )

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
        secret = bool(self.username or self.password.get_secret_value())
        if self.backend == "smtp" and self.security == "none" and secret and not is_loopback(self.host):
            yield "MAIL_SECURITY: must be starttls or tls, or the password goes over the network in clear text"
        if self.sender.endswith("@example.com>"):
            yield "MAIL_SENDER: is the development default; set your own"


class StorageSettings(Concern):
    """Where files are kept: a folder of this machine, or a bucket that all machines see."""

    backend: Literal["local", "s3"] = "local"
    directory: Path = Path("var/storage")
    bucket: str = ""
    endpoint: str = Field(default="", description="unset: AWS")
    public_endpoint: str = Field(default="", description="how clients reach the endpoint; unset: as we do")
    region: str = "eu-central-1"
    access_key: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    timeout: float = Field(default=5, gt=0, description="seconds")
    link_seconds: int = Field(default=300, ge=1, le=7 * 24 * 3600, description="how long a link to a file works")

    def faults(self) -> Iterator[str]:
        if self.backend != "s3":
            return
        if not self.bucket:
            yield "STORAGE_BUCKET: is missing"
        for name in ("endpoint", "public_endpoint"):
            if (url := getattr(self, name)) and not is_address(url, "http", "https"):
                yield f"STORAGE_{name.upper()}: must be an address of http or https"
        if bool(self.access_key.get_secret_value()) != bool(self.secret_key.get_secret_value()):
            yield "STORAGE_SECRET_KEY: must be given together with STORAGE_ACCESS_KEY"

    def production_faults(self) -> Iterator[str]:
        for name in ("endpoint", "public_endpoint"):
            if is_plain_to_public(getattr(self, name)):
                yield (
                    f"STORAGE_{name.upper()}: must be https, or files and keys go over the internet in clear text; "
                    "http is for names of a private network alone (minio, minio.storage.svc, s3.internal)"
                )
