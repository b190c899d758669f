"""From an uploaded file to the photos that are shown. Pure computation, for a worker alone.

Nothing of the file itself is kept: pixels are decoded, turned upright, brought to sRGB, scaled and encoded anew, so
that places, serial numbers and whatever hides behind an image's end stay out.
"""

import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image, ImageCms, ImageOps

from app.core.enums import PhotoSize
from app.core.jobs import JobFailed

BOUNDS: Mapping[PhotoSize, int] = {PhotoSize.SMALL: 96, PhotoSize.MEDIUM: 320, PhotoSize.LARGE: 1024}
"""Longest side in pixels; smaller images are not enlarged."""
_FORMATS = ("JPEG", "PNG", "WEBP")
# Twice the largest size: reduced to this first, a photo looks as if it had been scaled in one step.
_WORKED_AT = 2 * max(BOUNDS.values())
# Pillow's decoder of WebP holds the picture four times over.
_WEBP_SHARE = 3
_QUALITY = 82


def render_photos(file: bytes, *, max_pixels: int) -> dict[PhotoSize, bytes]:
    """The sizes in WebP; of an animation, its first picture.

    Raises `JobFailed` for what is no such image, is damaged, or declares more than `max_pixels` (a WebP: a third
    of them): that is not decoded.
    """
    # Pillow's own limit only warns at first.
    Image.MAX_IMAGE_PIXELS = None
    try:
        # Pillow makes room for a WebP's canvas when it opens it, and knows its size only then.
        _refuse_bomb(*_webp_canvas(file), max_pixels=max_pixels // _WEBP_SHARE)
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(file), formats=_FORMATS) as image:
            _refuse_bomb(image.width, image.height, max_pixels=max_pixels)
            photo = _flat(_upright(image))
            return {size: _encoded(photo, bound) for size, bound in BOUNDS.items()}
    except (JobFailed, MemoryError):
        raise
    except Exception as error:
        # Decoders raise whatever a damaged file makes them stumble over: struct.error, SyntaxError, IndexError.
        raise JobFailed("the file is not a JPEG, PNG or WebP image, or it is damaged") from error


def _refuse_bomb(width: int, height: int, *, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise JobFailed(f"the image declares {width} x {height} pixels; at most {max_pixels} in all are taken")


def _webp_canvas(file: bytes) -> tuple[int, int]:
    """Width and height that a WebP declares (RFC 9649, 2.5 to 2.7); nothing for other files."""
    kind = file[12:16] if file[:4] == b"RIFF" else b""
    if kind == b"VP8X":
        return int.from_bytes(file[24:27], "little") + 1, int.from_bytes(file[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(file[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(file[26:28], "little") & 0x3FFF, int.from_bytes(file[28:30], "little") & 0x3FFF
    return 0, 0


def _upright(image: Any) -> Any:
    """Decoded, reduced to little more than the pixels needed, and turned as its EXIF says."""
    # A JPEG is decoded at a half, a quarter or an eighth; others can only be reduced once they are decoded.
    image.draft(image.mode, (_WORKED_AT, _WORKED_AT))
    image.load()
    return ImageOps.exif_transpose(_reduced(_plain(image)))


def _plain(image: Any) -> Any:
    """Without a palette and in eight bits a channel, which is what can be reduced by averages."""
    info = image.info
    if image.mode in ("1", "P", "PA") or image.mode.startswith("I"):
        # Before it is widened to four bytes a pixel, by the nearest pixel: these modes know no other way.
        image.thumbnail((2 * _WORKED_AT, 2 * _WORKED_AT), Image.Resampling.NEAREST)
    if image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in info else "RGB")
    elif image.mode.startswith("I"):
        # The upper byte of 16 bits of grey; Pillow's own conversion takes all above 255 for white.
        image = image.convert("I").point(_upper_byte).convert("L")
    image.info = {name: value for name, value in info.items() if name != "transparency" or image.mode in ("L", "RGB")}
    return image


def _reduced(image: Any) -> Any:
    factor = max(image.width, image.height) // _WORKED_AT
    if factor < 2:
        return image
    reduced = image.reduce(factor)
    reduced.info = image.info
    return reduced


def _upper_byte(value: Any) -> Any:
    return value * (1 / 256)


def _flat(image: Any) -> Any:
    """RGB or RGBA in sRGB."""
    has_alpha = image.mode in ("RGBA", "LA") or "transparency" in image.info
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        image = _attempt(_to_srgb, image, profile)
    return image.convert("RGBA" if has_alpha else "RGB")


def _attempt(change: Callable[[Any, bytes], Any], image: Any, profile: bytes) -> Any:
    try:
        return change(image, profile)
    except (ImageCms.PyCMSError, ValueError, OSError):
        return image  # a broken profile says nothing of the pixels


def _to_srgb(image: Any, profile: bytes) -> Any:
    mode = image.mode if image.mode in ("RGB", "RGBA") else "RGB"
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)


def _encoded(photo: Any, bound: int) -> bytes:
    scaled = photo.copy()
    scaled.thumbnail((bound, bound), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    scaled.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return buffer.getvalue()
