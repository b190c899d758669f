"""Doctors' photos: what an upload may be."""

from pydantic import Field

from app.config.common import Concern


class PhotoSettings(Concern):
    upload_limit: int = Field(default=10 * 1024 * 1024, ge=1024, description="bytes of the file")
    upload_timeout: float = Field(default=60, gt=0, description="seconds a client has to send it")
    max_pixels: int = Field(default=25_000_000, ge=1, description="width times height, as the file declares them")
