"""Typed settings by concern, read from the environment, `.env` and a secrets folder.

A setting `database.pool_size` is read from `DATABASE_POOL_SIZE`: the concern, an underscore, the field. The environment
beats `.env`, `.env` beats the secrets folder (`SECRETS_DIR`, one file a setting).
"""

import os
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

DEVELOPMENT_SECRET = "development-only-secret-do-not-use-in-production"  # noqa: S105 - refused in production
DEVELOPMENT_PASSWORD = "frontdesk-admin"  # noqa: S105 - refused in production
MIN_SECRET_BYTES = 32


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[list[str], NoDecode, BeforeValidator(_split_commas)]


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class LogSettings(BaseModel):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["auto", "json", "console"] = "auto"


class ApiSettings(BaseModel):
    """The HTTP process."""

    workers: int = Field(default=1, ge=1, le=64)
    body_limit: int = Field(default=1024 * 1024, ge=1024, description="bytes")
    body_timeout: float = Field(default=20, gt=0, description="seconds a client has to send its body")
    shutdown_grace: int = Field(default=15, ge=0, description="seconds for requests under way")
    trusted_proxies: CommaSeparated = []
    allowed_hosts: CommaSeparated = ["*"]
    cors_origins: CommaSeparated = []
    docs: bool | None = Field(default=None, description="serve /docs and /openapi.json; unset: not in production")


class DatabaseSettings(BaseModel):
    """PostgreSQL; timeouts in seconds. Pool size plus overflow is per process."""

    url: SecretStr = SecretStr("")
    pool_size: int = Field(default=15, ge=1)
    pool_overflow: int = Field(
        default=0, ge=0, description="opened and closed again with every peak: rather a larger pool"
    )
    pool_wait: float = Field(default=3, gt=0, description="longest wait for a connection before 503")
    connect_timeout: float = Field(default=2, gt=0)
    command_timeout: float = Field(default=4, gt=0, description="longest wait of the API for one statement's answer")
    statement_timeout: float = Field(default=3, gt=0, description="the server's limit for one statement of the API")
    worker_statement_timeout: float = Field(default=60, gt=0)
    migrate_statement_timeout: float = Field(default=300, gt=0)
    lock_timeout: float = Field(default=2, gt=0)
    idle_in_transaction_timeout: float = Field(default=10, gt=0)


class RedisSettings(BaseModel):
    """Redis or Valkey: the wake-up call of the queues, counters; never the record of accepted work."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    timeout: float = Field(default=1, gt=0, description="seconds for connecting and for an answer")


class AuthSettings(BaseModel):
    secret_key: SecretStr = SecretStr(DEVELOPMENT_SECRET)
    issuer: str = "frontdesk"
    audience: str = "frontdesk-api"
    access_token_seconds: int = Field(default=900, ge=30)
    refresh_token_days: int = Field(default=30, ge=1)
    refresh_grace_seconds: int = Field(default=30, ge=0)
    verification_hours: int = Field(default=48, ge=1)
    max_failures: int = Field(default=10, ge=1, description="failed sign-ins per account and address in the window")
    failure_window: int = Field(default=300, ge=1, description="seconds")


class HashingSettings(BaseModel):
    """Password hashing: a bounded pool of low-priority threads (docs/decisions/0015)."""

    rounds: int = Field(default=12, ge=4, le=16, description="bcrypt cost, log2")
    threads: int | None = Field(default=None, ge=1, le=64, description="unset: its share of the cores")
    niceness: int = Field(default=3, ge=0, le=19)
    max_waiting: int = Field(default=64, ge=1, description="hashes queued before 503")
    wait: float = Field(default=4, gt=0, description="seconds a hash may wait before 503")


class ClinicSettings(BaseModel):
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


class MailSettings(BaseModel):
    backend: Literal["file", "smtp"] = "file"
    directory: Path = Path("var/mail")
    sender: str = "Frontdesk <frontdesk@example.com>"
    host: str = ""
    port: int = Field(default=587, ge=1, le=65535)
    username: str = ""
    password: SecretStr = SecretStr("")
    security: Literal["none", "starttls", "tls"] = "starttls"
    timeout: float = Field(default=10, gt=0, description="seconds")


class StorageSettings(BaseModel):
    directory: Path = Path("var/storage")


class JobSettings(BaseModel):
    """The job ledger; seconds unless said otherwise."""

    lease: float = Field(default=15, ge=1)
    heartbeat: float = Field(default=4, gt=0)
    relay_interval: float = Field(default=1, gt=0)
    reap_interval: float = Field(default=3, gt=0)
    republish_after: float = Field(default=30, ge=1)
    concurrency: int = Field(default=20, ge=1, description="I/O jobs at once per worker process")
    cpu_processes: int = Field(default=1, ge=1, description="Celery children")
    broker_url: SecretStr | None = Field(default=None, description="Celery's broker; unset: REDIS_URL")
    shutdown_grace: int = Field(default=15, ge=0)


class WorkerSettings(BaseModel):
    metrics_port: int = Field(default=9000, ge=1, le=65535)


class CelerySettings(BaseModel):
    metrics_port: int = Field(default=10000, ge=1, le=65535)


class FirstSettings(BaseModel):
    """The account that `seed` makes when it is not there."""

    superadmin_email: str = "admin@example.com"
    superadmin_password: SecretStr = SecretStr(DEVELOPMENT_PASSWORD)


class Settings(BaseSettings):
    """Everything that a process of the service may be told."""

    model_config = SettingsConfigDict(
        env_file=".env", env_nested_delimiter="_", env_nested_max_split=1, extra="ignore", env_ignore_empty=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = [init_settings, env_settings, dotenv_settings]
        if folder := _secrets_folder():
            # The plain secrets source knows no nesting: a file `database_url` would not be found.
            sources.append(
                NestedSecretsSettingsSource(
                    file_secret_settings, secrets_dir=folder, secrets_nested_delimiter="_", env_prefix=""
                )
            )
        concerns = {name for name, field in cls.model_fields.items() if isinstance(field.default, BaseModel)}
        for source in sources:
            if isinstance(source, EnvSettingsSource):
                # Settings are single values: MAIL is where a login shell keeps letters, not our concern of that name.
                source.env_vars = {
                    name: value for name, value in source.env_vars.items() if name.lower() not in concerns
                }
        return tuple(sources)

    environment: Environment = Environment.DEVELOPMENT
    debug: bool = False
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    public_url: str = Field(default="", description="where clients reach the service; unset: http://HOST:PORT")
    require_verified_email: bool | None = Field(default=None, description="unset: only in production")
    log: LogSettings = LogSettings()
    api: ApiSettings = ApiSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    hashing: HashingSettings = HashingSettings()
    clinic: ClinicSettings = ClinicSettings()
    mail: MailSettings = MailSettings()
    storage: StorageSettings = StorageSettings()
    jobs: JobSettings = JobSettings()
    worker: WorkerSettings = WorkerSettings()
    celery: CelerySettings = CelerySettings()
    first: FirstSettings = FirstSettings()

    @property
    def production(self) -> bool:
        return self.environment is Environment.PRODUCTION

    @property
    def verified_email_required(self) -> bool:
        return self.production if self.require_verified_email is None else self.require_verified_email

    @property
    def docs_served(self) -> bool:
        return not self.production if self.api.docs is None else self.api.docs

    @property
    def base_url(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    def faults(self) -> list[str]:
        """Everything that makes these settings unfit to start on, one line each; empty when fit."""
        found = []
        url = self.database.url.get_secret_value()
        if not url:
            found.append("DATABASE_URL: is missing; set it, or use `make run`, which brings its own PostgreSQL")
        elif not _is_address(url, "postgresql+asyncpg"):
            found.append("DATABASE_URL: must be of the form postgresql+asyncpg://user:password@host:port/database")
        if not _is_address(self.redis.url.get_secret_value(), "redis", "rediss", "unix"):
            found.append("REDIS_URL: must be of the form redis://user:password@host:port/number, or rediss:, or unix:")
        if self.jobs.heartbeat * 2 > self.jobs.lease:
            found.append("JOBS_HEARTBEAT: must be at most half of JOBS_LEASE, or a live job loses its lease")
        return found + (self._production_faults() if self.production else [])

    def _production_faults(self) -> list[str]:
        secret = self.auth.secret_key.get_secret_value()
        password = self.first.superadmin_password.get_secret_value()
        checks = [
            (self.debug, "DEBUG: must be off in production"),
            (secret == DEVELOPMENT_SECRET, "AUTH_SECRET_KEY: is the development default; set your own"),
            (
                len(secret.encode()) < MIN_SECRET_BYTES,
                f"AUTH_SECRET_KEY: is shorter than {MIN_SECRET_BYTES} bytes; `openssl rand -base64 48` makes one",
            ),
            (password == DEVELOPMENT_PASSWORD, "FIRST_SUPERADMIN_PASSWORD: is the development default; set your own"),
            (len(password) < 12, "FIRST_SUPERADMIN_PASSWORD: is shorter than 12 characters"),
            ("*" in self.api.allowed_hosts, "API_ALLOWED_HOSTS: '*' is not allowed; name the hosts"),
            (not self.api.allowed_hosts, "API_ALLOWED_HOSTS: is empty; name the hosts"),
            ("*" in self.api.cors_origins, "API_CORS_ORIGINS: '*' is not allowed; name the origins"),
            ("*" in self.api.trusted_proxies, "API_TRUSTED_PROXIES: '*' is not allowed; name the proxies"),
            (not self.public_url.startswith("https://"), "PUBLIC_URL: must be set and start with https://"),
            (self.mail.backend != "smtp", "MAIL_BACKEND: must be smtp; `file` only writes to a folder"),
            (self.mail.backend == "smtp" and not self.mail.host, "MAIL_HOST: is missing"),
            (self.mail.sender.endswith("@example.com>"), "MAIL_SENDER: is the development default; set your own"),
            (self.hashing.rounds < 12, "HASHING_ROUNDS: must be at least 12"),
        ]
        return [line for broken, line in checks if broken]


class ConfigurationError(Exception):
    """The settings can't be used; `faults` has one readable line for each reason."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("the settings can't be used:\n" + "\n".join(f"  - {fault}" for fault in faults))


def _secrets_folder() -> Path | None:
    folder = Path(os.environ.get("SECRETS_DIR", ""))
    return folder if folder.parts and folder.is_dir() else None


def _is_address(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and port != 0


def _env_name(loc: tuple[int | str, ...]) -> str:
    return "_".join(str(part) for part in loc if not isinstance(part, int)).upper()


def _defaults_at(locs: list[tuple[int | str, ...]]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for concern, *rest in locs:
        default = Settings.model_fields[str(concern)].default
        if rest and isinstance(default, BaseModel):
            overrides.setdefault(str(concern), {})[str(rest[0])] = getattr(default, str(rest[0]))
        else:
            overrides[str(concern)] = default
    return overrides


def load_settings() -> Settings:
    """The settings of this process, fit to start on.

    Raises ConfigurationError naming every fault at once, values never included.
    """
    try:
        settings, faults = Settings(), []
    except ValidationError as error:
        broken = error.errors(include_input=False, include_url=False)
        faults = [f"{_env_name(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}" for fault in broken]
        settings = Settings(**_defaults_at([fault["loc"] for fault in broken]))
    if os.environ.get("SECRETS_DIR") and _secrets_folder() is None:
        faults.append("SECRETS_DIR: is not a folder")
    if faults := faults + settings.faults():
        raise ConfigurationError(faults)
    return settings


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()
