"""Typed settings, one file a concern; `settings.py` puts them together and decides whether they are fit to start on."""

from app.config.backup import BackupSettings
from app.config.common import Environment
from app.config.engines import DatabaseSettings, JobSettings, RedisSettings
from app.config.events import EventsSettings
from app.config.identity import KEY_SET_SECONDS, AuthSettings, FirstSettings, HashingSettings
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
from app.config.settings import ConfigurationError, Settings, get_settings, load_settings
from app.config.shop import OrderSettings
from app.config.streams import StreamSettings
from app.config.telemetry import TelemetrySettings
from app.config.webhooks import WebhooksSettings

__all__ = [
    "KEY_SET_SECONDS",
    "ApiSettings",
    "AuthSettings",
    "BackupSettings",
    "CelerySettings",
    "ClinicSettings",
    "ConfigurationError",
    "DatabaseSettings",
    "DirectorySettings",
    "Environment",
    "EventsSettings",
    "FirstSettings",
    "HashingSettings",
    "InsurerSettings",
    "JobSettings",
    "LaboratorySettings",
    "LimitSettings",
    "LogSettings",
    "MailSettings",
    "MarketplaceSettings",
    "NotificationSettings",
    "OrderSettings",
    "PaymentsSettings",
    "PhotoSettings",
    "RedisSettings",
    "RetentionSettings",
    "SandboxSettings",
    "Settings",
    "StorageSettings",
    "StreamSettings",
    "TelemetrySettings",
    "WebhooksSettings",
    "WorkerSettings",
    "get_settings",
    "load_settings",
]
