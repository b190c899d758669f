"""Signing in, and the first account."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, SecretStr

from app.config.common import Concern

DEVELOPMENT_SECRET = "development-only-secret-do-not-use-in-production"  # noqa: S105 - refused in production
DEVELOPMENT_PASSWORD = "frontdesk-admin"  # noqa: S105 - refused in production
MIN_SECRET_BYTES = 32
KEY_SET_SECONDS = 300
"""How long others may keep `/.well-known/jwks.json`."""


class AuthSettings(Concern):
    secret_key: SecretStr = SecretStr(DEVELOPMENT_SECRET)
    issuer: str = "frontdesk"
    audience: str = "frontdesk-api"
    algorithm: Literal["ES256", "EdDSA", "HS256"] = Field(
        default="ES256", description="of the keys that are made from now on; HS256 has one key, made of the secret"
    )
    key_publish_ahead_seconds: int = Field(
        default=600, ge=0, description="how long the next key is in the key set before it signs"
    )
    key_reload_seconds: int = Field(default=60, ge=1, description="how often a process looks for keys by itself")
    access_token_seconds: int = Field(default=900, ge=30, le=24 * 3600)
    principal_seconds: float = Field(default=30, ge=0, description="how long a process may remember who asked; 0: not")
    refresh_token_days: int = Field(default=30, ge=1)
    session_days: int = Field(default=90, ge=1, description="whatever is refreshed, a session ends after this")
    refresh_grace_seconds: int = Field(default=30, ge=0)
    cookie_mode: bool = Field(default=False, description="browsers may keep the refresh token in a cookie")
    verification_hours: int = Field(default=48, ge=1)
    reset_minutes: int = Field(default=60, ge=1)
    email_change_hours: int = Field(default=24, ge=1)
    max_failures: int = Field(default=10, ge=1, description="failed sign-ins per account and address in the window")
    failure_window: int = Field(default=300, ge=1, description="seconds")
    max_address_failures: int = Field(default=1000, ge=1, description="failed sign-ins per address in the window")
    attack_failures: int = Field(default=50, ge=1, description="of one account, from which on each address has three")

    def faults(self) -> Iterator[str]:
        if self.key_publish_ahead_seconds < max(2 * self.key_reload_seconds, KEY_SET_SECONDS):
            yield (
                "AUTH_KEY_PUBLISH_AHEAD_SECONDS: must be at least twice AUTH_KEY_RELOAD_SECONDS, and"
                f" {KEY_SET_SECONDS}, for which others keep our key set"
            )

    def production_faults(self) -> Iterator[str]:
        secret = self.secret_key.get_secret_value()
        if secret == DEVELOPMENT_SECRET:
            yield "AUTH_SECRET_KEY: is the development default; set your own"
        if len(secret.encode()) < MIN_SECRET_BYTES:
            yield f"AUTH_SECRET_KEY: is shorter than {MIN_SECRET_BYTES} bytes; `openssl rand -base64 48` makes one"


class HashingSettings(Concern):
    """Password hashing: a bounded pool of low-priority threads (docs/decisions/0015)."""

    rounds: int = Field(default=12, ge=4, le=16, description="bcrypt cost, log2")
    threads: int | None = Field(default=None, ge=1, le=64, description="unset: its share of the cores")
    niceness: int = Field(default=3, ge=0, le=19)
    max_waiting: int = Field(default=64, ge=1, description="hashes queued before 503")
    wait: float = Field(default=4, gt=0, description="seconds a hash may wait before 503")

    def production_faults(self) -> Iterator[str]:
        if self.rounds < 12:
            yield "HASHING_ROUNDS: must be at least 12"


class FirstSettings(Concern):
    """The account that `seed` makes when it is not there."""

    superadmin_email: str = "admin@example.com"
    superadmin_password: SecretStr = SecretStr(DEVELOPMENT_PASSWORD)

    def production_faults(self) -> Iterator[str]:
        password = self.superadmin_password.get_secret_value()
        if password == DEVELOPMENT_PASSWORD:
            yield "FIRST_SUPERADMIN_PASSWORD: is the development default; set your own"
        if len(password) < 12:
            yield "FIRST_SUPERADMIN_PASSWORD: is shorter than 12 characters"
