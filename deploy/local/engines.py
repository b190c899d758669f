"""The embedded engines, for whoever starts them."""

from deploy.local.engine import Engine, EngineError
from deploy.local.postgres import PostgresEngine
from deploy.local.valkey import ValkeyEngine

__all__ = ["Engine", "EngineError", "PostgresEngine", "ValkeyEngine"]
