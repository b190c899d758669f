"""Floor A: FastAPI, a bare asyncpg pool and a JWT; the least that can answer `GET /users/me` from the database."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import asyncpg
import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

SECRET = os.environ["FLOOR_SECRET"]
bearer = OAuth2PasswordBearer(tokenUrl="auth/token")


class UserRead(BaseModel):
    id: int
    email: str
    full_name: str
    role: str
    is_active: bool
    email_verified: bool
    created_at: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["FLOOR_DSN"], min_size=10, max_size=15) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/users/me", response_model=UserRead)
async def me(request: Request, token: Annotated[str, Depends(bearer)]) -> Any:
    try:
        user_id = int(jwt.decode(token, SECRET, algorithms=["HS256"])["sub"])
    except jwt.PyJWTError:
        raise HTTPException(401) from None
    row = await request.app.state.pool.fetchrow(
        "SELECT id, email, full_name, role, is_active, email_verified, created_at FROM users WHERE id = $1", user_id
    )
    if row is None or not row["is_active"]:
        raise HTTPException(401)
    return dict(row)
