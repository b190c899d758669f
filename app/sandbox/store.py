"""What the sandbox remembers: payments, the answers by idempotency key, and webhooks not yet delivered.

It is a SQLite file, so that an order paid yesterday still has its payment after a restart. All calls block, for well
under a millisecond: one process, one connection, no durability beyond that of a development tool.
"""

import json
import sqlite3
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS payments (id TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER, answer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS webhooks (
    id TEXT PRIMARY KEY, body TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL,
    delivered REAL, last TEXT, provider TEXT NOT NULL DEFAULT 'payments'
);
"""
# Of a file that an older sandbox has made.
_PROVIDER = "ALTER TABLE webhooks ADD COLUMN provider TEXT NOT NULL DEFAULT 'payments'"


@dataclass
class SandboxPayment:
    payment_id: str
    order_id: int
    amount: int
    currency: str
    status: str = "pending"
    refunded: int = 0
    return_url: str | None = None


@dataclass(frozen=True)
class Webhook:
    id: str
    body: str
    attempts: int
    provider: str


class Store:
    def __init__(self, path: Path | None) -> None:
        """`path` None: in memory, for tests."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._database.executescript(_SCHEMA)
        if "provider" not in {row[1] for row in self._database.execute("PRAGMA table_info(webhooks)")}:
            self._database.execute(_PROVIDER)

    def close(self) -> None:
        self._database.close()

    def payment(self, payment_id: str) -> SandboxPayment | None:
        row = self._database.execute("SELECT data FROM payments WHERE id = ?", (payment_id,)).fetchone()
        return SandboxPayment(**json.loads(row[0])) if row else None

    def payments(self, *, limit: int = 1000) -> list[SandboxPayment]:
        """Newest first."""
        rows = self._database.execute("SELECT data FROM payments ORDER BY rowid DESC LIMIT ?", (limit,))
        return [SandboxPayment(**json.loads(data)) for (data,) in rows]

    def save(self, payment: SandboxPayment) -> None:
        self._database.execute(
            "INSERT INTO payments VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data",
            (payment.payment_id, json.dumps(asdict(payment))),
        )

    def answer(self, key: str) -> tuple[str, int, str] | None:
        """The request, status and body that were kept under an idempotency key."""
        row = self._database.execute("SELECT request, status, answer FROM answers WHERE key = ?", (key,)).fetchone()
        return (row[0], row[1], row[2]) if row else None

    def keep_answer(self, key: str, request: str, status: int, answer: str) -> None:
        self._database.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (key, request, status, answer))

    def post_webhook(self, provider: str, body: dict[str, Any]) -> str:
        webhook_id = f"msg_{token_hex(12)}"
        row = (webhook_id, provider, json.dumps(body), time.time())
        self._database.execute("INSERT INTO webhooks (id, provider, body, due) VALUES (?, ?, ?, ?)", row)
        return webhook_id

    def due_webhooks(self, *, limit: int = 20) -> list[Webhook]:
        rows = self._database.execute(
            "SELECT id, body, attempts, provider FROM webhooks WHERE delivered IS NULL AND due <= ?"
            " ORDER BY due LIMIT ?",
            (time.time(), limit),
        )
        return [Webhook(*row) for row in rows]

    def note_webhook(self, webhook_id: str, *, delivered: bool, said: str, again_in: float) -> None:
        now = time.time()
        self._database.execute(
            "UPDATE webhooks SET attempts = attempts + 1, last = ?, due = ?, delivered = ? WHERE id = ?",
            (said, now + again_in, now if delivered else None, webhook_id),
        )

    def webhooks(self, *, limit: int = 1000) -> list[dict[str, Any]]:
        """Newest first."""
        rows = self._database.execute(
            "SELECT id, provider, body, attempts, delivered IS NOT NULL, last FROM webhooks"
            " ORDER BY rowid DESC LIMIT ?",
            (limit,),
        )
        names = ("id", "provider", "body", "attempts", "delivered", "last")
        return [dict(zip(names, row, strict=True)) | {"body": json.loads(row[2])} for row in rows]

    def forget(self) -> None:
        for table in ("payments", "answers", "webhooks"):
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
