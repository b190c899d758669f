"""Public documents at places that standards name; never under the base path."""

from typing import Any

from fastapi import APIRouter, Response

from app.dependencies.resources import Keys
from app.schemas.well_known import KeySet

router = APIRouter(tags=["identity"])


@router.get("/.well-known/jwks.json", response_model=KeySet)
async def key_set(keys: Keys, response: Response) -> Any:
    """The public keys that verify access tokens: the next one, the present one, and old ones until their last token has
    expired. Empty when signing is symmetric."""
    response.headers["Cache-Control"] = f"public, max-age={keys.public_for_seconds}"
    return await keys.key_set()
