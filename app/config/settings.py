"""Typed settings by concern, read from the environment, `.env` and a secrets folder.

A setting `database.pool_size` is read from `DATABASE_POOL_SIZE`: the concern, an underscore, the field. The environment
beats `.env`, `.env` beats the secrets folder (`SECRETS_DIR`, one file a setting).
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.config.backup import BackupSettings
from app.config.common import Concern, Environment
from app.config.engines import DatabaseSettings, JobSettings, RedisSettings
from app.config.events import EventsSettings
from app.config.identity import AuthSettings, FirstSettings, HashingSettings
from app.config.limits import LimitSettings
from app.config.notifications import NotificationSettings
from app.config.outer import ClinicSettings, MailSettings, StorageSettings
from app.config.partners import (
    DirectorySettings,
    InsurerSettings,
    LaboratorySettings,
    MarketplaceSettings,
    PaymentsSettings,
    SandboxSettings,
)
from app.config.photos import PhotoSettings
from app.config.retention import RetentionSettings
from app.config.serving import ApiSettings, CelerySettings, LogSettings, WorkerSettings
from app.config.shop import OrderSettings
from app.config.streams import StreamSettings
from app.config.telemetry import TelemetrySettings
from app.config.webhooks import WebhooksSettings


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
        concerns = {name for name, field in cls.model_fields.items() if isinstance(field.default, Concern)}
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
    telemetry: TelemetrySettings = TelemetrySettings()
    api: ApiSettings = ApiSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    hashing: HashingSettings = HashingSettings()
    clinic: ClinicSettings = ClinicSettings()
    mail: MailSettings = MailSettings()
    notifications: NotificationSettings = NotificationSettings()
    storage: StorageSettings = StorageSettings()
    backup: BackupSettings = BackupSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    payments: PaymentsSettings = PaymentsSettings()
    marketplace: MarketplaceSettings = MarketplaceSettings()
    photos: PhotoSettings = PhotoSettings()
    directory: DirectorySettings = DirectorySettings()
    insurer: InsurerSettings = InsurerSettings()
    laboratory: LaboratorySettings = LaboratorySettings()
    sandbox: SandboxSettings = SandboxSettings()
    jobs: JobSettings = JobSettings()
    orders: OrderSettings = OrderSettings()
    worker: WorkerSettings = WorkerSettings()
    celery: CelerySettings = CelerySettings()
    events: EventsSettings = EventsSettings()
    streams: StreamSettings = StreamSettings()
    retention: RetentionSettings = RetentionSettings()
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
    def request_limits(self) -> dict[Literal["read", "write", "auth"], int]:
        """Requests a minute by class; a hundredfold outside production, where one address may be a whole benchmark."""
        scale = 1 if self.production else 100
        given = self.limits
        return {
            "read": 6000 * scale if given.read is None else given.read,
            "write": 3000 * scale if given.write is None else given.write,
            "auth": 1200 * scale if given.auth is None else given.auth,
        }

    @property
    def base_url(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    def faults(self) -> list[str]:
        """Everything that makes these settings unfit to start on, one line each; empty when fit."""
        concerns = [value for _, value in self if isinstance(value, Concern)]
        found = [line for concern in concerns for line in concern.faults()]
        if self.auth.cookie_mode and "*" in self.api.cors_origins:
            found.append("API_CORS_ORIGINS: '*' is not allowed with AUTH_COOKIE_MODE; name the origins")
        if not self.production:
            return found
        if self.debug:
            found.append("DEBUG: must be off in production")
        if not self.public_url.startswith("https://"):
            found.append("PUBLIC_URL: must be set and start with https://")
        return found + [line for concern in concerns for line in concern.production_faults()]


class ConfigurationError(Exception):
    """The settings can't be used; `faults` has one readable line for each reason."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("the settings can't be used:\n" + "\n".join(f"  - {fault}" for fault in faults))


def _secrets_folder() -> Path | None:
    folder = Path(os.environ.get("SECRETS_DIR", ""))
    return folder if folder.parts and folder.is_dir() else None


def _env_name(loc: tuple[int | str, ...]) -> str:
    return "_".join(str(part) for part in loc if not isinstance(part, int)).upper()


def _defaults_at(locs: list[tuple[int | str, ...]]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for concern, *rest in locs:
        default = Settings.model_fields[str(concern)].default
        if rest and isinstance(default, Concern):
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
