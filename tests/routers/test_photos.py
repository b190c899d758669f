"""Doctors' photos, from the upload to the file that a browser keeps."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from app.integrations.storage import CHUNK_SIZE, StorageUnavailable
from app.schemas.messages.photos import DrawDoctorPhoto
from app.services.container import Container
from tests.support import API, Person, World, assert_problem

BLUE, RED = (30, 30, 200), (200, 30, 30)
HOUR = timedelta(hours=1)


def photo(color: tuple[int, int, int] = BLUE, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 200), color).save(buffer, form)
    return buffer.getvalue()


async def put(client: httpx.AsyncClient, who: Person, doctor_id: int, file: bytes, **headers: str) -> httpx.Response:
    files = {"file": ("portrait.gif", file, "image/gif")}  # neither the name nor the type is believed
    return await client.put(f"{API}/doctors/{doctor_id}/photo", files=files, headers=who.headers | headers)


def stored(container: Container) -> list[str]:
    """The keys of all photos and uploads in storage."""
    root = container.settings.storage.directory
    found = [path for folder in ("photos", "uploads") for path in (root / folder).rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(root)) for path in found)


@pytest.fixture(autouse=True)
def _empty_storage(container: Container) -> None:
    for key in stored(container):
        (container.settings.storage.directory / key).unlink()


async def swept(world: World) -> None:
    """Time passes, and the sweep comes."""
    await world.execute("UPDATE temporary_objects SET expires_at = expires_at - interval '2 minutes'")
    await world.container.objects.sweep()


async def colour(client: httpx.AsyncClient, url: str) -> tuple[int, int, int]:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    pixel = Image.open(io.BytesIO(answer.content)).convert("RGB").getpixel((3, 3))
    return tuple(round(value, -1) for value in pixel)  # type: ignore[return-value,union-attr]


async def test_a_photo_is_taken_drawn_and_served(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """202 with the job and its place; then the doctor shows three URLs, each a WebP to be kept for good."""
    admin, doctor_id = await world.admin(), await world.doctor()
    before = await client.get(f"{API}/doctors/{doctor_id}")
    accepted = await put(client, admin, doctor_id, photo())
    assert accepted.status_code == 202
    job = accepted.json()
    assert (job["name"], job["queue"], job["status"]) == ("photo.doctor", "cpu", "queued")
    assert accepted.headers["location"] == f"{API}/jobs/{job['id']}"
    assert (await client.get(f"{API}/doctors/{doctor_id}")).json()["photo"] is None
    await world.run_jobs()
    done = (await client.get(accepted.headers["location"], headers=admin.headers)).json()
    after = await client.get(f"{API}/doctors/{doctor_id}")
    urls = after.json()["photo"]
    assert (done["status"], done["result"]) == ("succeeded", {"photo": urls})
    assert after.headers["etag"] != before.headers["etag"]
    assert (await client.get(f"{API}/doctors")).json()["items"][0]["photo"] == urls
    for size, width in (("small", 96), ("medium", 320), ("large", 400)):
        served = await client.get(urls[size])
        assert (served.status_code, served.headers["content-type"]) == (200, "image/webp")
        assert served.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert served.headers["x-content-type-options"] == "nosniff"
        assert Image.open(io.BytesIO(served.content)).size == (width, width // 2)
        again = await client.get(urls[size], headers={"If-None-Match": served.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    await swept(world)
    assert [key.rpartition("/")[2] for key in stored(container)] == ["large.webp", "medium.webp", "small.webp"]
    assert await world.count("temporary_objects") == 0


async def test_without_a_version_a_photo_is_kept_for_a_moment(client: httpx.AsyncClient, world: World) -> None:
    """An address without the version, or with a former one, gives the present photo and says so to caches."""
    admin, doctor_id = await world.admin(), await world.doctor()
    await put(client, admin, doctor_id, photo())
    await world.run_jobs()
    for query in ("", "?v=1-0000"):
        served = await client.get(f"{API}/doctors/{doctor_id}/photo/small{query}")
        assert served.headers["cache-control"] == "public, max-age=60"


async def test_a_new_photo_replaces_the_old_one(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """The next photo has addresses of its own, and the files of the former go once it is committed, not before."""
    admin, doctor_id = await world.admin(), await world.doctor()
    urls = []
    for color in (BLUE, RED):
        await put(client, admin, doctor_id, photo(color))
        await world.run_jobs()
        urls.append((await client.get(f"{API}/doctors/{doctor_id}")).json()["photo"]["large"])
    assert urls[0] != urls[1]
    assert await colour(client, urls[1]) == RED
    assert len(stored(container)) == 8
    await swept(world)
    assert len(stored(container)) == 3
    assert await colour(client, urls[1]) == RED
    assert await colour(client, urls[0]) == RED, "a page that still shows the former address"


async def test_the_last_upload_wins(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """Whichever of two jobs ends last, the photo that was sent last is shown, and the other leaves nothing."""
    admin, doctor_id = await world.admin(), await world.doctor()
    first = (await put(client, admin, doctor_id, photo(BLUE))).json()["id"]
    await put(client, admin, doctor_id, photo(RED))
    await world.execute("UPDATE jobs SET run_at = now() + interval '1 hour' WHERE id = :id", id=first)
    await world.run_jobs()
    await world.execute("UPDATE jobs SET run_at = now() WHERE id = :id", id=first)
    await world.run_jobs()
    shown = (await client.get(f"{API}/doctors/{doctor_id}")).json()["photo"]["large"]
    assert await colour(client, shown) == RED
    job = (await client.get(f"{API}/jobs/{first}", headers=admin.headers)).json()
    assert (job["status"], list(job["result"])) == ("succeeded", ["skipped"])
    await swept(world)
    assert len(stored(container)) == 3


async def test_a_photo_is_taken_away(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """DELETE hides the photo and the one that is still being drawn; again it is 204, and nothing is left in storage."""
    admin, doctor_id = await world.admin(), await world.doctor()
    await put(client, admin, doctor_id, photo())
    await world.run_jobs()
    url = (await client.get(f"{API}/doctors/{doctor_id}")).json()["photo"]["small"]
    await put(client, admin, doctor_id, photo(RED))
    for _ in range(2):
        gone = await client.delete(f"{API}/doctors/{doctor_id}/photo", headers=admin.headers)
        assert gone.status_code == 204
    await world.run_jobs()
    assert (await client.get(f"{API}/doctors/{doctor_id}")).json()["photo"] is None
    assert_problem(await client.get(url), 404, "not_found")
    await swept(world)
    assert stored(container) == []


async def test_what_is_no_image_is_not_taken(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """415 by the first bytes, whatever name and type say; 422 without a file, 400 for a broken form; nothing kept."""
    admin, doctor_id = await world.admin(), await world.doctor()
    where = f"{API}/doctors/{doctor_id}/photo"
    for file in (b"", b"GIF89a" + b"x" * 50, b"<svg onload=alert(1)>", b"RIFF\0\0\0\0WAVE", b"\xff\xd8"):
        files = {"file": ("portrait.png", file, "image/png")}
        assert_problem(await client.put(where, files=files, headers=admin.headers), 415, "unsupported_image")
    forms: list[dict[str, Any]] = [
        {"files": {"photo": ("portrait.png", photo(), "image/png")}},
        {"data": {"file": "portrait.png"}},
        {"content": photo(), "headers": admin.headers | {"Content-Type": "image/png"}},
        {"json": {"file": "x"}},
        {},
    ]
    for form in forms:
        answer = await client.put(where, **({"headers": admin.headers} | form))
        assert answer.status_code in {400, 422}, answer.text
    two = [("file", ("a.png", photo(), "image/png")), ("file", ("b.png", photo(), "image/png"))]
    several: list[dict[str, Any]] = [
        {"files": two},
        {"files": two[:1], "data": {"title": "x"}},
        {"files": {"file": (None, "x")}},
    ]
    for form in several:
        answer = await client.put(where, **form, headers=admin.headers)
        assert "one part alone: `file`" in assert_problem(answer, 400, "bad_request")["detail"]
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"nothing of the kind", b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nab'):
        answer = await client.put(where, content=body, headers=admin.headers | broken)
        assert answer.status_code in {400, 415, 422}, answer.text
    assert (await world.count("jobs"), stored(container)) == (0, [])


async def test_who_may(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """401 and 403 before the file is read; 404 for a doctor who is not there; 412 for a stale tag. Nothing is kept."""
    admin, patient, doctor_id = await world.admin(), await world.person(), await world.doctor()
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    where = f"{API}/doctors/{doctor_id}/photo"
    assert_problem(await client.put(where, content=body(), headers=headers), 401, "invalid_token")
    assert_problem(await client.put(where, content=body(), headers=headers | patient.headers), 403, "forbidden")
    assert read == 0
    assert_problem(await client.delete(where, headers=patient.headers), 403, "forbidden")
    assert_problem(await put(client, admin, 999, photo()), 404, "not_found")
    assert stored(container) == []
    assert_problem(await put(client, admin, doctor_id, photo(), **{"If-Match": '"7"'}), 412, "precondition_failed")
    assert_problem(await client.delete(where, headers=admin.headers | {"If-Match": '"7"'}), 412, "precondition_failed")
    await world.execute("UPDATE temporary_objects SET expires_at = now()")
    await swept(world)
    assert (await world.count("jobs"), stored(container)) == (0, [])
    for size, status in (("small", 404), ("huge", 422)):
        assert (await client.get(f"{where}/{size}")).status_code == status


async def test_the_photo_of_a_doctor_who_left_is_not_served(client: httpx.AsyncClient, world: World) -> None:
    """404 once the doctor is deleted, and for an upload that was still being drawn."""
    admin, doctor_id = await world.admin(), await world.doctor()
    await put(client, admin, doctor_id, photo())
    await world.run_jobs()
    url = (await client.get(f"{API}/doctors/{doctor_id}")).json()["photo"]["small"]
    await put(client, admin, doctor_id, photo(RED))
    await client.delete(f"{API}/doctors/{doctor_id}", headers=admin.headers)
    await world.run_jobs()
    assert_problem(await client.get(url), 404, "not_found")
    assert await world.scalar("SELECT result ? 'skipped' FROM jobs ORDER BY id DESC LIMIT 1")


async def test_the_size_of_an_upload_has_a_limit_of_its_own(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """More than other bodies may have is taken; more than the limit is 413, announced or not, and leaves nothing."""
    admin, doctor_id = await world.admin(), await world.doctor()
    limit = container.settings.photos.upload_limit
    assert (await put(client, admin, doctor_id, photo().ljust(limit, b"\0"))).status_code == 202
    kept = stored(container)
    assert_problem(await put(client, admin, doctor_id, photo().ljust(limit + 1, b"\0")), 413, "body_too_large")
    assert_problem(await put(client, admin, doctor_id, photo().ljust(2 * limit, b"\0")), 413, "body_too_large")

    async def unannounced() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + photo()
        for _ in range(2 * limit // CHUNK_SIZE):
            yield b"\0" * CHUNK_SIZE

    headers = admin.headers | {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await client.put(f"{API}/doctors/{doctor_id}/photo", content=unannounced(), headers=headers)
    assert_problem(answer, 413, "body_too_large")
    assert stored(container) == kept
    elsewhere = await client.put(f"{API}/doctors/{doctor_id}/hours", content=b" " * (2 << 20), headers=admin.headers)
    assert_problem(elsewhere, 413, "body_too_large")


async def test_a_damaged_image_fails_its_job(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """What only looks like an image is told by the job, in words; the photo before stays, the upload goes."""
    admin, doctor_id = await world.admin(), await world.doctor()
    await put(client, admin, doctor_id, photo())
    await world.run_jobs()
    job_id = (await put(client, admin, doctor_id, photo()[:-60])).json()["id"]
    assert await world.run_jobs() == 1
    job = (await client.get(f"{API}/jobs/{job_id}", headers=admin.headers)).json()
    assert (job["status"], job["attempt"]) == ("failed", 1)
    assert job["error"] == "JobFailed: the file is not a JPEG, PNG or WebP image, or it is damaged"
    assert (await client.get(f"{API}/doctors/{doctor_id}")).json()["photo"]
    await swept(world)
    assert len(stored(container)) == 3


async def test_what_died_on_the_way_leaves_nothing(
    client: httpx.AsyncClient, world: World, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads that no job was made for, and sizes that no job completed with, are swept; an object is known to the
    database before it is in storage."""
    key = f"uploads/{uuid4().hex}"

    async def torn() -> AsyncIterator[bytes]:
        yield photo()
        assert await world.count("temporary_objects") == 1
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await container.objects.stage({key: torn()}, lifetime=HOUR)
    await container.objects.stage({key: photo()}, lifetime=HOUR)
    await container.objects.sweep()
    assert stored(container) == [key]
    await world.execute("UPDATE temporary_objects SET expires_at = now() - interval '59 seconds'")
    await container.objects.sweep()
    assert stored(container) == [key], "a transaction may still be adopting it"
    await swept(world)
    assert (stored(container), await world.count("temporary_objects")) == ([], 0)


async def test_an_object_that_can_not_be_deleted_is_tried_again(
    world: World, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away keeps the object in the register, and the sweep ends."""
    await container.objects.stage({"uploads/a": b"x", "uploads/b": b"y"}, lifetime=HOUR)
    await world.execute("UPDATE temporary_objects SET expires_at = now() - interval '1 hour'")

    async def away(key: str) -> None:
        raise StorageUnavailable(key)

    with monkeypatch.context() as patch:
        patch.setattr(type(container.storage), "delete", lambda _, key: away(key))
        assert await container.objects.sweep() == 0
    assert len(stored(container)) == 2
    assert await container.objects.sweep() == 2


async def test_sizes_that_were_swept_are_not_shown(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt whose files have outlived their time fails, and the next one shows files that are there."""
    admin, doctor_id = await world.admin(), await world.doctor()
    await put(client, admin, doctor_id, photo())
    with monkeypatch.context() as patch:
        patch.setattr("app.services.photos.UNACCEPTED", -HOUR)
        await world.run_jobs()
    assert (await client.get(f"{API}/doctors/{doctor_id}")).json()["photo"] is None
    await world.assert_enqueued(DrawDoctorPhoto, doctor_id=doctor_id)
    await world.execute("UPDATE jobs SET run_at = now() WHERE status = 'queued'")
    await world.run_jobs()
    url = (await client.get(f"{API}/doctors/{doctor_id}")).json()["photo"]["small"]
    assert await colour(client, url) == BLUE


async def test_an_upload_that_is_gone(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """A job that runs after its upload was swept fails in words; a photo without its file is 404, not a torn answer."""
    admin, doctor_id = await world.admin(), await world.doctor()
    job_id = (await put(client, admin, doctor_id, photo())).json()["id"]
    (container.settings.storage.directory / stored(container)[0]).unlink()
    await world.run_jobs()
    job = (await client.get(f"{API}/jobs/{job_id}", headers=admin.headers)).json()
    assert (job["status"], job["error"]) == (
        "failed",
        "JobFailed: the upload is no longer kept; send the photo again",
    )
    await world.execute("UPDATE doctors SET photo = id || '/9-9'")
    assert_problem(await client.get(f"{API}/doctors/{doctor_id}/photo/small"), 404, "not_found")
