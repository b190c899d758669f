"""What becomes of an uploaded image; every one is made here."""

import io
import resource
import struct
import subprocess
import sys
import zlib
from typing import Any

import pytest
from PIL import Image, ImageCms

from app.core.enums import PhotoSize
from app.core.jobs import JobFailed
from app.services.photo_images import render_photos

MAX_PIXELS = 1_000_000
RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (30, 200, 30)


def corners() -> Any:
    """Red, with blue in the lower right quarter and green in the lower left one: 600 by 300."""
    image = Image.new("RGB", (600, 300), RED)
    image.paste(BLUE, (300, 150, 600, 300))
    image.paste(GREEN, (0, 150, 300, 300))
    return image


def encoded(image: Any, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def rendered(file: bytes, *, max_pixels: int = MAX_PIXELS) -> dict[PhotoSize, Any]:
    photos = render_photos(file, max_pixels=max_pixels)
    return {size: Image.open(io.BytesIO(photo)) for size, photo in photos.items()}


def near(pixel: Any, expected: tuple[int, ...]) -> bool:
    return all(abs(one - other) < 12 for one, other in zip(pixel, expected, strict=True))


def png(width: int, height: int, *, depth: int = 8, color: int = 2, data: bytes = b"") -> bytes:
    """A PNG of four chunks that declares what it is told to."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_three_sizes_in_webp(form: str) -> None:
    """Each of the three formats becomes three WebPs within their bounds, in proportion, and not enlarged."""
    photos = rendered(encoded(corners(), form))
    assert {size.value: photo.size for size, photo in photos.items()} == {
        "small": (96, 48),
        "medium": (320, 160),
        "large": (600, 300),
    }
    for photo in photos.values():
        assert photo.format == "WEBP"
        assert near(photo.getpixel((0, 0)), RED)
        assert near(photo.getpixel((photo.width - 1, photo.height - 1)), BLUE)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_it_is_upright_and_says_nothing_of_where_it_was_taken(form: str) -> None:
    """An image that EXIF turns by a quarter is turned, and neither EXIF nor XMP nor a profile is left in any size."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    exif[0x010F] = "Secret Camera Maker"
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {} if form == "PNG" else {"xmp": b"<x:xmpmeta>Secret</x:xmpmeta>"}
    photos = rendered(encoded(corners(), form, exif=exif, icc_profile=profile, **options))
    for size, photo in photos.items():
        assert photo.width < photo.height, size
        assert near(photo.getpixel((0, 0)), GREEN), size
        assert near(photo.getpixel((0, photo.height - 1)), BLUE), size
        assert not photo.info.keys() & {"exif", "xmp", "icc_profile"}, size
    for photo in render_photos(encoded(corners(), form, exif=exif, **options), max_pixels=MAX_PIXELS).values():
        assert b"Secret" not in photo


def test_a_large_one_is_reduced_at_once() -> None:
    """More than twice the largest size is scaled in two steps to the same bounds."""
    photos = rendered(encoded(corners().resize((4200, 2100)), "PNG", compress_level=1), max_pixels=9_000_000)
    assert [photo.size for photo in photos.values()] == [(96, 48), (320, 160), (1024, 512)]
    assert near(photos[PhotoSize.LARGE].getpixel((1000, 500)), BLUE)


def test_one_pixel() -> None:
    """The smallest image there is stays one pixel in every size; one of a single row stays a row."""
    assert [photo.size for photo in rendered(encoded(Image.new("RGB", (1, 1), RED), "PNG")).values()] == [(1, 1)] * 3
    row = rendered(encoded(Image.new("RGB", (9000, 1), RED), "PNG"))
    assert [photo.size for photo in row.values()] == [(96, 1), (320, 1), (1024, 1)]


def test_print_colours() -> None:
    """CMYK becomes RGB."""
    large = rendered(encoded(corners().convert("CMYK"), "JPEG"))[PhotoSize.LARGE]
    assert large.mode == "RGB"
    assert near(large.getpixel((0, 0)), RED)


def test_sixteen_bits() -> None:
    """Grey of 16 bits keeps its tone instead of turning white, and so do three channels of 16 bits."""
    grey = rendered(encoded(Image.new("I;16", (40, 40), 100 * 256), "PNG"))[PhotoSize.LARGE]
    assert near(grey.getpixel((5, 5)), (100, 100, 100))
    rows = b"".join(b"\0" + struct.pack(">3H", 200 * 257, 30 * 257, 30 * 257) * 8 for _ in range(8))
    assert near(rendered(png(8, 8, depth=16, data=rows))[PhotoSize.LARGE].getpixel((4, 4)), RED)


def test_transparency() -> None:
    """A palette with a transparent colour stays transparent there; so do alpha channels, with and without colour."""
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([255, 0, 0, 0, 200, 0])
    palette.paste(1, (20, 20, 40, 40))
    large = rendered(encoded(palette, "PNG", transparency=0))[PhotoSize.LARGE]
    assert (large.mode, large.getpixel((2, 2))[3], large.getpixel((38, 38))[3]) == ("RGBA", 0, 255)
    assert near(large.getpixel((38, 38))[:3], (0, 200, 0))
    for mode, color in (("RGBA", (*RED, 100)), ("LA", (90, 100))):
        large = rendered(encoded(Image.new(mode, (40, 40), color), "PNG"))[PhotoSize.LARGE]
        assert (large.mode, large.getpixel((2, 2))[3]) == ("RGBA", 100)
    keyed = rendered(encoded(Image.new("RGB", (40, 40), RED), "PNG", transparency=RED))[PhotoSize.LARGE]
    assert keyed.getpixel((2, 2))[3] == 0


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_an_animation_the_first_picture(form: str) -> None:
    """What moves becomes a still."""
    file = encoded(corners(), form, save_all=True, append_images=[Image.new("RGB", (600, 300), BLUE)])
    large = rendered(file)[PhotoSize.LARGE]
    assert not getattr(large, "is_animated", False)
    assert near(large.getpixel((0, 0)), RED)


def test_a_wider_gamut_is_brought_to_srgb() -> None:
    """Pixels are converted by the profile that comes with them; one that is broken is left aside."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # One for which red is where green is for others.
    turned = srgb.replace(b"rXYZ", b"?").replace(b"gXYZ", b"rXYZ").replace(b"?", b"gXYZ")
    red = rendered(encoded(Image.new("RGB", (40, 40), (255, 0, 0)), "PNG", icc_profile=turned))[PhotoSize.LARGE]
    assert near(red.getpixel((20, 20)), (0, 255, 0))
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    image = Image.new("RGB", (40, 40), (100, 100, 100))
    for profile in (linear, b"not a profile"):
        assert rendered(encoded(image, "PNG", icc_profile=profile))[PhotoSize.LARGE].mode == "RGB"
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert rendered(encoded(image, "JPEG", icc_profile=lab))[PhotoSize.LARGE].mode == "RGB"


def test_what_hides_in_the_file_does_not_come_through() -> None:
    """A JPEG that is a page and a ZIP as well becomes photos that are neither."""
    file = encoded(corners(), "JPEG", comment=b"<script>alert(1)</script>") + b"PK\x03\x04<script>evil()</script>"
    for photo in render_photos(file, max_pixels=MAX_PIXELS).values():
        assert photo[:4] == b"RIFF"
        assert struct.unpack("<I", photo[4:8])[0] + 8 == len(photo)
        assert b"script" not in photo


DAMAGED = {
    "a truncated JPEG": encoded(corners(), "JPEG")[:-900],
    "a truncated PNG": encoded(corners(), "PNG")[:-200],
    "a truncated WebP": encoded(corners(), "WEBP")[:-80],
    "a PNG without pixels": png(600, 300),
    "a GIF": encoded(corners().convert("P"), "GIF"),
    "a TIFF": encoded(corners(), "TIFF"),
    "the start of a JPEG": b"\xff\xd8\xff\xe0" + b"x" * 500,
    "the start of a WebP": b"RIFF\x10\0\0\0WEBPVP8X",
    "nothing": b"",
    "a page": b"<!DOCTYPE html><script>alert(1)</script>",
    "a PNG that is no pixels wide": png(0, 5),
}


@pytest.mark.parametrize("file", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_whole_image_fails_the_job(file: bytes) -> None:
    """The job fails for good, in words for whoever sent it."""
    with pytest.raises(JobFailed, match=r"^the file is not a JPEG, PNG or WebP image, or it is damaged$"):
        render_photos(file, max_pixels=MAX_PIXELS)


def _webp(kind: bytes, content: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


BOMBS = {
    "a PNG": png(50_000, 50_000),
    "a JPEG": encoded(Image.new("L", (2000, 2000)), "JPEG"),
    "an extended WebP": _webp(b"VP8X", b"\0\0\0\0" + (16_382).to_bytes(3, "little") * 2),
    "a lossless WebP": _webp(b"VP8L", b"\x2f" + (16_382 | 16_382 << 14).to_bytes(4, "little") + b"\0" * 9),
    "a lossy WebP": _webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383) + b"\0" * 8),
    "a WebP of more than a third": encoded(Image.new("RGB", (1000, 400)), "WEBP"),
}


@pytest.mark.parametrize("file", BOMBS.values(), ids=BOMBS)
def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(file: bytes) -> None:
    """What declares more pixels than allowed fails the job with its size, and takes no memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(JobFailed, match=r"declares \d+ x \d+ pixels; at most"):
        render_photos(file, max_pixels=MAX_PIXELS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


MEASURE = """
import re, sys
from pathlib import Path
from app.config import PhotoSettings
from app.services.photo_images import render_photos
render_photos(sys.stdin.buffer.read(), max_pixels=PhotoSettings().max_pixels)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "side", "form", "options"),
    [
        ("RGBA", 5000, "PNG", {"compress_level": 1}),
        ("CMYK", 5000, "JPEG", {"progressive": True}),
        ("RGBA", 2886, "WEBP", {"method": 0}),
    ],
)
def test_the_largest_that_is_taken_fits_into_memory(mode: str, side: int, form: str, options: dict[str, Any]) -> None:
    """A process that draws an image of all the pixels allowed stays below 320 MiB."""
    file = encoded(Image.new(mode, (side, side)), form, **options)
    done = subprocess.run([sys.executable, "-c", MEASURE], input=file, capture_output=True, check=True, timeout=60)
    assert int(done.stdout) < 320
