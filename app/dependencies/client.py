"""The credentials of a service account, as RFC 6749, 2.3.1 has them: each form-encoded, then HTTP Basic."""

from base64 import b64decode
from typing import Annotated
from urllib.parse import unquote_plus

from fastapi import Depends, Request

from app.services.service_accounts import ClientCredentials


async def client_credentials(request: Request) -> ClientCredentials | None:
    """None when there are none, or when they can't be read."""
    kind, _, encoded = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        text = b64decode(encoded.strip(), validate=True).decode()
        client, colon, secret = text.partition(":")
        parts = [unquote_plus(part, errors="strict") for part in (client, secret)]
    except ValueError:
        return None
    return ClientCredentials(*parts) if colon else None


ClientCredentialsDep = Annotated[ClientCredentials | None, Depends(client_credentials)]
