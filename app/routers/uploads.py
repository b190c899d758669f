"""Files that come as `multipart/form-data`: read only once their sender is known to be allowed to send them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.core.errors import BodyTooLarge, Invalid

_ONE_FILE = "The form must have one part alone: `file`, with a filename, or it is a text."
CHUNK_SIZE = 64 * 1024
ENVELOPE = 16 * 1024
"""Bytes that the form around a file may have."""
FILE_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                    "additionalProperties": False,
                }
            }
        },
    }
}
"""For `openapi_extra`: FastAPI would read the form before it asks who sends it."""
Store = Callable[[bytes, AsyncIterator[bytes]], Awaitable[str]]


async def stored_once(request: Request, *, limit: int, head: int, store: Store) -> str:
    """What `store` answers to the form's `file`: its first `head` bytes and then all of it.

    A transaction that is tried again finds the file stored already. The file passes through a temporary one on disk.
    """
    key: str | None = getattr(request.state, "stored_upload", None)
    if key is None:
        try:
            async with request.form(max_files=1, max_fields=0, max_part_size=ENVELOPE) as form:
                file = form.get("file")
                if not isinstance(file, UploadFile):
                    raise Invalid("must be a file", loc=("body", "file"), kind="missing")
                if (file.size or 0) > limit:
                    raise BodyTooLarge
                key = await store(await file.read(head), _chunks(file))
        except ClientDisconnect:
            raise HTTPException(400, "The body was not sent to its end.") from None
        except HTTPException as error:
            if str(error.detail).startswith("Too many"):
                raise HTTPException(400, _ONE_FILE) from None
            raise
        request.state.stored_upload = key
    return key


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    await file.seek(0)
    while chunk := await file.read(CHUNK_SIZE):
        yield chunk
