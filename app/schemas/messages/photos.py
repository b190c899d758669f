"""What a photo job is told."""

from typing import ClassVar

from app.core.jobs import JobMessage, Queue, Retry


class DrawDoctorPhoto(JobMessage):
    """`upload` is the key of the file as it was sent."""

    name: ClassVar[str] = "photo.doctor"
    queue: ClassVar[Queue] = Queue.CPU
    retry: ClassVar[Retry] = Retry(max_attempts=3)
    timeout: ClassVar[float] = 120
    for_staff: ClassVar[bool] = True
    doctor_id: int
    upload: str
