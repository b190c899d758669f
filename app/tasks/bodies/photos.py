"""Bodies of the photo jobs."""

from typing import Any

from app.schemas.messages.photos import DrawDoctorPhoto
from app.services.photos import PhotoService
from app.tasks.attempt import Attempt, Bodies, Effect


def photo_bodies(photos: PhotoService) -> Bodies:
    async def doctor(message: DrawDoctorPhoto, attempt: Attempt) -> Any:
        return Effect(await photos.draw(message, job_id=attempt.job_id, lease=attempt.lease))

    return {DrawDoctorPhoto: doctor}
