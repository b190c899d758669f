"""Doctors' photos: taken as an upload, drawn by a CPU job, served as three sizes (decision 40)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from app.config import PhotoSettings
from app.core.audit import audit
from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.enums import PhotoSize
from app.core.errors import NotFound, UnsupportedImage
from app.core.etag import check_if_match, none_match, version_tag
from app.core.jobs import JobFailed, enqueue
from app.crud.doctors import doctors
from app.integrations.storage import ObjectMissing, Storage
from app.models import Doctor
from app.schemas.doctors import photo_urls
from app.schemas.messages.photos import DrawDoctorPhoto
from app.services.objects import ObjectService
from app.services.principal import Principal, require_admin

UNACCEPTED = timedelta(hours=1)
ACCEPTED = timedelta(hours=24)
"""How long an upload is kept for attempts, those that an operator asks for included."""
HEAD = 12
MEDIA_TYPE = "image/webp"


def is_image(head: bytes) -> bool:
    """Whether a file that begins with `head`, of at least HEAD bytes, says that it is a JPEG, PNG or WebP."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


@dataclass(frozen=True, slots=True)
class ServedPhoto:
    """`content`, or a `link` to where the store itself gives it for a while; neither when the client has it already."""

    tag: str
    version: str
    content: bytes | None = None
    link: str | None = None


def _render(file: bytes, max_pixels: int) -> dict[PhotoSize, bytes]:
    # The API serves photos and never draws one: it does without the library.
    from app.services.photo_images import render_photos  # noqa: PLC0415

    return render_photos(file, max_pixels=max_pixels)


def _keys(photo: str) -> dict[PhotoSize, str]:
    return {size: f"photos/{photo}/{size.value}.webp" for size in PhotoSize}


@dataclass(frozen=True, slots=True)
class PhotoService:
    settings: PhotoSettings
    storage: Storage
    objects: ObjectService
    link_seconds: int

    async def stage(
        self, read: ReadSession, *, principal: Principal, doctor_id: int, head: bytes, chunks: AsyncIterator[bytes]
    ) -> str:
        """Keep the file that begins with `head` for the job to come; the answer is its key."""
        require_admin(principal)
        if not is_image(head):
            raise UnsupportedImage
        await self._doctor(read, doctor_id)
        key = f"uploads/{uuid4().hex}"
        await self.objects.stage({key: chunks}, lifetime=UNACCEPTED)
        return key

    async def accept(
        self, session: WriteSession, *, principal: Principal, doctor_id: int, upload: str, if_match: str | None
    ) -> int:
        """Take the upload as the doctor's next photo; returns the id of the job that draws it."""
        doctor = await self._locked(session, principal, doctor_id, if_match)
        doctor.photo_job_id = await enqueue(session, DrawDoctorPhoto(doctor_id=doctor_id, upload=upload))
        await audit(session, action="doctor.photo_set", object_type="doctor", object_id=doctor_id)
        await self.objects.keep(session, [upload], lifetime=ACCEPTED)
        await session.flush()
        return doctor.photo_job_id

    async def draw(
        self, message: DrawDoctorPhoto, *, job_id: int, lease: UUID
    ) -> Callable[[WriteSession], Awaitable[dict[str, Any]]]:
        """Draw and store the sizes; the answer is what makes them the doctor's photo, in the completing transaction."""
        try:
            file = b"".join([chunk async for chunk in self.storage.open(message.upload)])
        except ObjectMissing:
            raise JobFailed("the upload is no longer kept; send the photo again") from None
        try:
            # A thread, so that the lease is renewed while it draws.
            photos = await asyncio.to_thread(_render, file, self.settings.max_pixels)
        except JobFailed:
            async with self.objects.database.session_scope() as session:
                await self.objects.discard(session, [message.upload])
            raise
        # The lease is part of the name: an attempt that lost it never touches the files of its successor.
        photo = f"{message.doctor_id}/{job_id}-{lease.hex[:16]}"
        keys = _keys(photo)
        await self.objects.stage({keys[size]: webp for size, webp in photos.items()}, lifetime=UNACCEPTED)

        async def show(session: WriteSession) -> dict[str, Any]:
            return await self._show(session, message, photo=photo, job_id=job_id)

        return show

    async def _show(
        self, session: WriteSession, message: DrawDoctorPhoto, *, photo: str, job_id: int
    ) -> dict[str, Any]:
        doctor = await doctors.lock(session, message.doctor_id)
        keys = list(_keys(photo).values())
        if doctor is None or doctor.photo_job_id != job_id:
            await self.objects.discard(session, [message.upload, *keys])
            return {"skipped": "another photo was sent since, or the photo or the doctor was deleted"}
        await self.objects.adopt(session, keys)
        former = _keys(doctor.photo).values() if doctor.photo else ()
        await self.objects.discard(session, [message.upload, *former])
        await doctors.patch(session, doctor, {"photo": photo, "photo_job_id": None})
        return {"photo": photo_urls(photo)}

    async def remove(
        self, session: WriteSession, *, principal: Principal, doctor_id: int, if_match: str | None
    ) -> None:
        """Take the photo away, and any that is still being drawn."""
        doctor = await self._locked(session, principal, doctor_id, if_match)
        if doctor.photo or doctor.photo_job_id:
            await audit(session, action="doctor.photo_removed", object_type="doctor", object_id=doctor_id)
        doctor.photo_job_id = None
        if doctor.photo:
            await self.objects.discard(session, list(_keys(doctor.photo).values()))
        await doctors.patch(session, doctor, {"photo": None})

    async def get(self, read: ReadSession, *, doctor_id: int, size: PhotoSize, known: str | None) -> ServedPhoto:
        """The photo as it is now; NotFound without one. `known` is the client's If-None-Match."""
        for _ in range(2):
            doctor = await self._doctor(read, doctor_id)
            if doctor.photo is None:
                break
            version = doctor.photo.partition("/")[2]
            tag = f'"{version}-{size.value}"'
            if none_match(known, tag):
                return ServedPhoto(tag, version)
            key = _keys(doctor.photo)[size]
            try:
                link = await self.storage.link(key, seconds=self.link_seconds, media_type=MEDIA_TYPE)
                if link is not None:
                    await self.storage.size(key)
                    return ServedPhoto(tag, version, link=link)
                # Read whole, some 200 KiB at most: a file that is gone has to be known before the answer begins.
                content = b"".join([chunk async for chunk in self.storage.open(key)])
                return ServedPhoto(tag, version, content)
            except ObjectMissing:
                continue  # replaced since the row was read
        raise NotFound("The doctor has no photo.")

    async def _doctor(self, read: ReadSession, doctor_id: int) -> AnyRow:
        doctor = await doctors.get(read, doctor_id)
        if doctor is None:
            raise NotFound
        return doctor

    async def _locked(
        self, session: WriteSession, principal: Principal, doctor_id: int, if_match: str | None
    ) -> Doctor:
        require_admin(principal)
        doctor = await doctors.lock(session, doctor_id)
        if doctor is None:
            raise NotFound
        check_if_match(if_match, version_tag(doctor.version))
        return doctor
