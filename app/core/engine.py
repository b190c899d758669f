"""The engine of one process: its pool, its limits, and what changes behind a pooler (docs/decisions/0094)."""

import asyncio
from typing import Any, Literal

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.config import DatabaseSettings
from app.core.database_address import DatabaseAddress
from app.core.pool import pool_options
from app.core.tracing import trace_statements

Role = Literal["api", "worker", "migrate", "listen"]
DIRECT = frozenset({"migrate", "listen"})
"""Who needs a session of the server's own: for a lock held over transactions, or to be told something."""
# Between two transactions a pooler may give us another server, which knows nothing of what was prepared on the last
# one. An unnamed statement is sent again with every use, and asyncpg prepares and runs it without letting go.
_NOTHING_PREPARED: dict[str, Any] = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def limits(settings: DatabaseSettings, role: Role) -> dict[str, str]:
    """The server's limits for this role, by the names of its parameters."""
    statement = {
        "api": settings.statement_timeout,
        "worker": settings.worker_statement_timeout,
        "migrate": settings.migrate_statement_timeout,
        "listen": settings.statement_timeout,
    }[role]
    return {
        "statement_timeout": _milliseconds(statement),
        "lock_timeout": _milliseconds(settings.migrate_lock_timeout if role == "migrate" else settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
    }


def make_engine(settings: DatabaseSettings, *, role: Role, pooled: bool) -> AsyncEngine:
    """In autocommit; `pooled`: it keeps connections, which belong to the event loop that made them."""
    behind_pooler = settings.pooler == "transaction" and role not in DIRECT
    given = limits(settings, role)
    server_settings = {"application_name": f"frontdesk-{role}", "timezone": "UTC"}
    if not behind_pooler:
        # A pooler refuses these, or forgets them at the next transaction: there they are its own affair.
        server_settings |= {"jit": "off", **given}
    patience = int(given["statement_timeout"]) / 1000 + 1
    url = (settings.direct if role in DIRECT else settings.url).get_secret_value()
    tls = DatabaseAddress(url, settings.ca_file).tls()
    engine = create_async_engine(
        url,
        # They would go to the log with every failure: e-mails, hashes, reasons.
        hide_parameters=True,
        connect_args={
            "timeout": settings.connect_timeout,
            "command_timeout": settings.command_timeout if role == "api" else patience,
            "server_settings": server_settings,
            **(_NOTHING_PREPARED if behind_pooler else {}),
            **({"ssl": tls} if tls else {}),
        },
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        **pool_options(settings, pooled=pooled),
    )
    if role == "api":
        event.listen(engine.sync_engine, "handle_error", _cut_hung_connection)
    trace_statements(engine.sync_engine)
    return engine


def _cut_hung_connection(context: ExceptionContext) -> None:
    """To close a connection politely is to wait for the very server that did not answer: two seconds more."""
    given_up = isinstance(context.original_exception, TimeoutError | asyncio.CancelledError)
    if given_up and context.connection is not None and not context.connection.invalidated:
        context.is_disconnect, context.invalidate_pool_on_disconnect = True, False
        driver: Any = context.connection.connection.driver_connection
        driver.terminate()
