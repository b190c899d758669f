"""Doctors' photos."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from app.core.enums import PhotoSize
from app.dependencies.access import DoctorsWriter
from app.dependencies.resources import Jobs, Photos
from app.dependencies.session import IfMatch, IfNoneMatch, Read, Write
from app.routers.responses import PathId, accepted, file_of
from app.routers.route import Router
from app.routers.uploads import FILE_FORM, stored_once
from app.schemas.jobs import JobRead
from app.services.photos import HEAD, MEDIA_TYPE

router = Router(prefix="/doctors", tags=["clinic"])
# The URLs that a doctor shows name the version: what they give never changes. Without it, the photo may.
_FOR_GOOD, _FOR_NOW = "public, max-age=31536000, immutable", "public, max-age=60"
# Pages of any site may show it: it is public, and an application may be served from elsewhere.
_ANYWHERE = {"Cross-Origin-Resource-Policy": "cross-origin"}


@router.put(
    "/{doctor_id}/photo",
    status_code=202,
    response_model=JobRead,
    openapi_extra=FILE_FORM,
    responses={415: {"description": "`unsupported_image`"}},
)
async def put_photo(
    doctor_id: PathId,
    principal: DoctorsWriter,
    request: Request,
    photos: Photos,
    jobs: Jobs,
    read: Read,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Admins only. A JPEG, PNG or WebP; 415 `unsupported_image` for others. The answer is the job that draws the sizes;
    the doctor shows them once it has succeeded. Of several uploads the last one wins.
    """

    async def store(head: bytes, chunks: AsyncIterator[bytes]) -> str:
        return await photos.stage(read, principal=principal, doctor_id=doctor_id, head=head, chunks=chunks)

    upload = await stored_once(request, limit=photos.settings.upload_limit, head=HEAD, store=store)
    job_id = await photos.accept(session, principal=principal, doctor_id=doctor_id, upload=upload, if_match=if_match)
    return accepted(response, await jobs.accepted(session, job_id=job_id))


@router.delete("/{doctor_id}/photo", status_code=204, response_class=Response)
async def delete_photo(
    doctor_id: PathId, principal: DoctorsWriter, photos: Photos, session: Write, if_match: IfMatch = None
) -> None:
    """Admins only. One that is still being drawn will not be shown either."""
    await photos.remove(session, principal=principal, doctor_id=doctor_id, if_match=if_match)


@router.get(
    "/{doctor_id}/photo/{size}",
    response_class=Response,
    responses={
        200: file_of("The photo", MEDIA_TYPE),
        307: {"description": "The photo is at `Location`, for a while"},
    },
)
async def get_photo(
    doctor_id: PathId,
    size: PhotoSize,
    photos: Photos,
    read: Read,
    v: Annotated[str | None, Query(max_length=64, description="the version, as the doctor's `photo` names it")] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """To be kept for good under its version; without one, or with a former one, the present photo for a minute. Or a
    redirect to where it is kept."""
    photo = await photos.get(read, doctor_id=doctor_id, size=size, known=if_none_match)
    if photo.link is not None:
        # No ETag: a 304 would give new life to a kept redirect whose link has ended.
        age = photos.link_seconds // 2 if v == photo.version else min(60, photos.link_seconds // 2)
        return RedirectResponse(photo.link, headers=_ANYWHERE | {"Cache-Control": f"public, max-age={age}"})
    headers = _ANYWHERE | {"ETag": photo.tag, "Cache-Control": _FOR_GOOD if v == photo.version else _FOR_NOW}
    if photo.content is None:
        return Response(status_code=304, headers=headers)
    return Response(photo.content, media_type=MEDIA_TYPE, headers=headers)
