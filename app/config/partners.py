"""Partners that we call and that call us. The defaults are those of the sandbox that `make run` starts."""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, SecretStr

from app.config.common import Concern, SecretList, is_address

SANDBOX_URL = "http://127.0.0.1:11000"
DEVELOPMENT_PAYMENTS_KEY = "sandbox-payments-key"
DEVELOPMENT_PAYMENTS_SECRET = "whsec_ZnJvbnRkZXNrLWRldmVsb3BtZW50LXBheW1lbnRzLS0="  # noqa: S105 - refused in production
DEVELOPMENT_MARKETPLACE_KEY = "sandbox-marketplace-key"
DEVELOPMENT_MARKETPLACE_SECRET = "frontdesk-development-marketplace"  # noqa: S105 - refused in production
_STANDARD_PREFIX = "whsec_"
_MIN_SECRET_BYTES = 24  # Standard Webhooks: 24 to 64 bytes


class PaymentsSettings(Concern):
    """The payment provider: its REST API, and its webhooks by Standard Webhooks."""

    url: str = SANDBOX_URL
    api_key: SecretStr = SecretStr(DEVELOPMENT_PAYMENTS_KEY)
    webhook_secrets: SecretList = Field(
        default=[SecretStr(DEVELOPMENT_PAYMENTS_SECRET)], description="newest first; all of them are taken"
    )

    def faults(self) -> Iterator[str]:
        yield from _url_faults("PAYMENTS_URL", self.url, "http", "https")
        if not self.webhook_secrets:
            yield "PAYMENTS_WEBHOOK_SECRETS: is empty; name at least one secret"
        elif not all(_standard_bytes(secret) for secret in self.webhook_secrets):
            yield "PAYMENTS_WEBHOOK_SECRETS: each must be whsec_ and base64"

    def production_faults(self) -> Iterator[str]:
        yield from _own_partner_faults("PAYMENTS", self.url, self.api_key, DEVELOPMENT_PAYMENTS_KEY)
        yield from _own_secret_faults("PAYMENTS", self.webhook_secrets, DEVELOPMENT_PAYMENTS_SECRET)
        if any(len(_standard_bytes(secret)) < _MIN_SECRET_BYTES for secret in self.webhook_secrets):
            yield f"PAYMENTS_WEBHOOK_SECRETS: a secret is shorter than {_MIN_SECRET_BYTES} bytes"


class MarketplaceSettings(Concern):
    """The marketplace whose catalogue is synchronised; its webhooks are signed GitHub's way."""

    url: str = SANDBOX_URL
    api_key: SecretStr = SecretStr(DEVELOPMENT_MARKETPLACE_KEY)
    webhook_secrets: SecretList = Field(
        default=[SecretStr(DEVELOPMENT_MARKETPLACE_SECRET)], description="newest first; all of them are taken"
    )

    def faults(self) -> Iterator[str]:
        yield from _url_faults("MARKETPLACE_URL", self.url, "http", "https")
        if not self.webhook_secrets:
            yield "MARKETPLACE_WEBHOOK_SECRETS: is empty; name at least one secret"

    def production_faults(self) -> Iterator[str]:
        yield from _own_partner_faults("MARKETPLACE", self.url, self.api_key, DEVELOPMENT_MARKETPLACE_KEY)
        yield from _own_secret_faults("MARKETPLACE", self.webhook_secrets, DEVELOPMENT_MARKETPLACE_SECRET)
        if any(len(secret.get_secret_value().encode()) < _MIN_SECRET_BYTES for secret in self.webhook_secrets):
            yield f"MARKETPLACE_WEBHOOK_SECRETS: a secret is shorter than {_MIN_SECRET_BYTES} bytes"


class DirectorySettings(Concern):
    """The directory of partner clinics (GraphQL); without an address there is none."""

    url: str = ""
    token: SecretStr = SecretStr("")

    def faults(self) -> Iterator[str]:
        if self.url:
            yield from _url_faults("DIRECTORY_URL", self.url, "http", "https")


class InsurerSettings(Concern):
    """The insurer's eligibility service (SOAP); without an address there is none."""

    url: str = ""
    key: SecretStr = SecretStr("")

    def faults(self) -> Iterator[str]:
        if self.url:
            yield from _url_faults("INSURER_URL", self.url, "http", "https")


class LaboratorySettings(Concern):
    """The laboratory's results (gRPC); without an address there is none."""

    url: str = Field(default="", description="grpcs://host:port, or grpc:// without TLS")
    token: SecretStr = SecretStr("")

    def faults(self) -> Iterator[str]:
        if self.url:
            yield from _url_faults("LABORATORY_URL", self.url, "grpc", "grpcs")


class SandboxSettings(Concern):
    """The server that plays the partners in development."""

    port: int = Field(default=11000, ge=1, le=65535)
    file: Path = Path("var/sandbox.sqlite3")


def _url_faults(name: str, url: str, *schemes: str) -> Iterator[str]:
    if not is_address(url, *schemes):
        yield f"{name}: must be an address of {' or '.join(schemes)}"


def _own_partner_faults(concern: str, url: str, key: SecretStr, development_key: str) -> Iterator[str]:
    if url == SANDBOX_URL:
        yield f"{concern}_URL: is the sandbox of development; set the partner's own"
    elif not url.startswith("https://"):
        yield f"{concern}_URL: must start with https://"
    if key.get_secret_value() == development_key:
        yield f"{concern}_API_KEY: is the development default; set your own"


def _own_secret_faults(concern: str, secrets: list[SecretStr], development: str) -> Iterator[str]:
    if any(secret.get_secret_value() == development for secret in secrets):
        yield f"{concern}_WEBHOOK_SECRETS: holds the development default; set your own"


def _standard_bytes(secret: SecretStr) -> bytes:
    """The key that a Standard Webhooks secret stands for; empty when it stands for none."""
    text = secret.get_secret_value()
    try:
        return base64.b64decode(text.removeprefix(_STANDARD_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""
