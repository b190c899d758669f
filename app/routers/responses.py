"""What the routers answer alike: entity tags, pages and accepted jobs."""

from typing import Annotated, Any

from fastapi import Path, Response

from app.core.etag import none_match, version_tag
from app.core.listing import Cursors, Listing, Page, PageQuery
from app.schemas.base import Id
from app.schemas.jobs import JobRead

PathId = Annotated[Id, Path()]


def file_of(description: str, *kinds: str) -> dict[str, Any]:
    """An answer that is a file of one of these media types, for `responses`.

    Whatever the kind, it is bytes, and that stands first: generators of clients take the first type that they know, and
    read others as text or not at all.
    """
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = dict.fromkeys(("application/octet-stream", *kinds), binary)
    return {"description": f"{description}; `Content-Type` names the real type", "content": content}


def tagged(response: Response, obj: Any) -> Any:
    """`obj`, its version noted as the answer's ETag."""
    response.headers["ETag"] = version_tag(obj.version)
    return obj


def created(response: Response, obj: Any, location: str) -> Any:
    response.headers["Location"] = f"/api/v1/{location}/{obj.id}"
    return tagged(response, obj)


def conditional(response: Response, obj: Any, if_none_match: str | None, *, tag: str | None = None) -> Any:
    """`obj` with its ETag, or 304 when the client has it already; `tag` for what has no version."""
    tag = tag or version_tag(obj.version)
    if none_match(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return obj


def paged(page: Page, query: PageQuery, listing: Listing, cursors: Cursors) -> dict[str, Any]:
    cursor = cursors.encode(listing.scope(query.sort), page.last) if page.last else None
    return {"items": page.rows, "next_cursor": cursor, "total": page.total}


def accepted(response: Response, job: JobRead) -> JobRead:
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job
