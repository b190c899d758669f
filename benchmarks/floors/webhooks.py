"""Floor W: FastAPI and a bare asyncpg pool; the least that can verify a webhook's signature and keep it."""

import base64
import hmac
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, HTTPException, Request

KEY = base64.b64decode(os.environ["FLOOR_WEBHOOK_SECRET"].removeprefix("whsec_"))
TABLE = """
    CREATE TABLE IF NOT EXISTS floor_webhooks (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id text NOT NULL UNIQUE, body bytea NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now()
    )
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["FLOOR_DSN"], min_size=10, max_size=15) as pool:
        await pool.execute(TABLE)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def root() -> dict[str, bool]:
    return {"up": True}


@app.post("/webhooks/payments", status_code=202)
async def receive(request: Request) -> dict[str, str]:
    event_id, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    body = await request.body()
    digest = hmac.digest(KEY, f"{event_id}.{timestamp}.".encode() + body, "sha256")
    expected = "v1," + base64.b64encode(digest).decode()
    given = request.headers["webhook-signature"].split(" ")
    if abs(time.time() - int(timestamp)) > 300 or not any(hmac.compare_digest(expected, one) for one in given):
        raise HTTPException(401)
    await request.app.state.pool.execute(
        "INSERT INTO floor_webhooks (event_id, body) VALUES ($1, $2) ON CONFLICT DO NOTHING", event_id, body
    )
    return {"event_id": event_id}
