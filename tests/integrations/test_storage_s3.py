"""Object storage in a bucket, against a real local server."""

import asyncio
import dataclasses
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from app.config import StorageSettings
from app.integrations.aws import AwsClient
from app.integrations.storage import CHUNK_SIZE, ObjectMissing, StorageUnavailable
from app.integrations.storage_s3 import PART_SIZE, S3Storage
from app.services.container import Container
from app.services.jobs import JobService
from tests.integrations.moto import KEY, SECRET, moto_server
from tests.support import API, World

BUCKET = "frontdesk-test"


def settings(endpoint: str, **values: Any) -> StorageSettings:
    given = {"backend": "s3", "bucket": BUCKET, "endpoint": endpoint, "access_key": KEY, "secret_key": SECRET}
    return StorageSettings.model_validate(given | values)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(scope="module")
async def s3(endpoint: str) -> AsyncIterator[Any]:
    """S3's own client, as its operator has it; to make one takes half a second."""
    client = AwsClient("s3", endpoint=endpoint, region="eu-central-1", access_key=KEY, secret_key=SECRET)
    yield await client.get()
    await client.close()


@pytest.fixture
async def admin(s3: Any) -> AsyncIterator[Any]:
    """That client, and an empty bucket."""
    await s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield s3
    listed = await s3.list_objects_v2(Bucket=BUCKET)
    for found in listed.get("Contents", []):
        await s3.delete_object(Bucket=BUCKET, Key=found["Key"])
    await s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
async def storage(endpoint: str, admin: Any) -> AsyncIterator[S3Storage]:
    storage = S3Storage(settings(endpoint))
    yield storage
    await storage.close()


async def stream(*chunks: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if then is not None:
        raise then


async def content(storage: S3Storage, key: str) -> bytes:
    return b"".join([chunk async for chunk in storage.open(key)])


@pytest.mark.parametrize("data", [b"", b"a", b"0123456789" * 20_000])
async def test_what_is_put_is_read_back(storage: S3Storage, data: bytes) -> None:
    """Bytes come back unchanged, in chunks of 64 KiB at most, whether they were given at once or streamed."""
    assert await storage.put("reports/2026/job-1.pdf", data) == len(data)
    assert await storage.size("reports/2026/job-1.pdf") == len(data)
    chunks = [chunk async for chunk in storage.open("reports/2026/job-1.pdf")]
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= CHUNK_SIZE for chunk in chunks)
    assert await storage.put("streamed", stream(data[:3], data[3:])) == len(data)
    assert await content(storage, "streamed") == data


async def test_a_large_stream_goes_in_parts(storage: S3Storage, admin: Any) -> None:
    """More than one part's worth arrives whole, in parts, and no upload is left open."""
    piece = bytes(range(256)) * 4096
    count = PART_SIZE * 2 // len(piece) + 1
    assert await storage.put("large", stream(*[piece] * count)) == len(piece) * count
    assert await storage.size("large") == len(piece) * count
    assert (await admin.head_object(Bucket=BUCKET, Key="large"))["ETag"].endswith('-3"')
    offset = 0
    async for chunk in storage.open("large"):
        assert chunk == (piece + piece)[offset % len(piece) :][: len(chunk)]
        offset += len(chunk)
    assert offset == len(piece) * count
    assert (await admin.list_multipart_uploads(Bucket=BUCKET)).get("Uploads", []) == []


@pytest.mark.parametrize("error", [RuntimeError("the source broke"), asyncio.CancelledError()], ids=repr)
async def test_a_source_that_breaks_leaves_nothing(storage: S3Storage, admin: Any, error: BaseException) -> None:
    """Its error passes through; neither an object nor an open upload stays behind."""
    piece = b"x" * (PART_SIZE + 1)
    with pytest.raises(type(error)):
        await storage.put("broken", stream(piece, piece, then=error))
    with pytest.raises(ObjectMissing):
        await storage.size("broken")
    assert (await admin.list_multipart_uploads(Bucket=BUCKET)).get("Uploads", []) == []


async def test_uploads_and_downloads_do_not_fill_memory(storage: S3Storage) -> None:
    """An object of five parts costs our side a few parts of memory, up and down."""
    # The server is in this process, so what it keeps is measured first by an object of its own.
    await storage.put("warm", b"x")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5 * PART_SIZE // CHUNK_SIZE):
            yield b"y" * CHUNK_SIZE

    tracemalloc.start()
    try:
        assert await storage.put("large", pieces()) == 5 * PART_SIZE
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    ours = snapshot.filter_traces([tracemalloc.Filter(True, "*/app/integrations/*")])
    assert sum(trace.size for trace in ours.traces) < PART_SIZE


async def test_what_is_not_there_is_missing_and_deleting_it_is_fine(storage: S3Storage) -> None:
    """Size and open say ObjectMissing; delete says nothing, twice."""
    with pytest.raises(ObjectMissing):
        await storage.size("nothing")
    with pytest.raises(ObjectMissing):
        await content(storage, "nothing")
    await storage.put("something", b"1")
    await storage.delete("something")
    await storage.delete("something")


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../b", ".hidden", "a b", "ä", "a" * 513])
async def test_the_keys_are_those_of_local_storage(storage: S3Storage, key: str) -> None:
    """What one store refuses the other does not take: moving from one to the other finds every file."""
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.put(key, b"x")
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.link(key, seconds=1, name="x", media_type="text/plain")


@pytest.mark.parametrize("broken", [{"endpoint": "http://127.0.0.1:9"}, {"bucket": "no-such-bucket"}], ids=str)
async def test_a_store_that_is_away_is_unavailable(endpoint: str, admin: Any, broken: dict[str, str]) -> None:
    """Nobody there, or a bucket that is not ours: StorageUnavailable, whose public text says no address."""
    storage = S3Storage(
        settings(endpoint, timeout=1, **broken) if "bucket" in broken else settings(**broken, timeout=1)
    )
    for attempt in (storage.put("a", b"x"), storage.put("a", stream(b"x" * (PART_SIZE + 1))), storage.delete("a")):
        with pytest.raises(StorageUnavailable) as ended:
            await attempt
        assert "127.0.0.1" not in ended.value.detail
    await storage.close()


async def test_a_link_gives_the_file_to_whoever_has_it(storage: S3Storage, endpoint: str, admin: Any) -> None:
    """Fetched without any key it is the file, under its name and type; it is signed for the host that clients see."""
    await storage.put("a.csv", b"1,2")
    link = await storage.link("a.csv", seconds=60, name="revenue.csv", media_type="text/csv")
    assert link is not None
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(link)
    assert (answer.status_code, answer.content) == (200, b"1,2")
    assert answer.headers["content-disposition"] == 'attachment; filename="revenue.csv"'
    assert answer.headers["content-type"].startswith("text/csv")
    assert "X-Amz-Expires=60" in link
    assert SECRET not in link
    outside = S3Storage(settings(endpoint, public_endpoint="https://files.example.org"))
    assert str(await outside.link("a.csv", seconds=60, name="a", media_type="text/csv")).startswith(
        f"https://files.example.org/{BUCKET}/a.csv?"
    )
    await outside.close()


async def test_the_result_of_a_job_is_a_redirect(
    client: httpx.AsyncClient, container: Container, world: World, storage: S3Storage, app: Any
) -> None:
    """With a bucket, `/jobs/{id}/result` sends its creator to the store; a file that is gone is 404."""
    await storage.put("reports/1.pdf", b"%PDF")
    app.state.container = dataclasses.replace(container, storage=storage, jobs=JobService(storage, 60))
    person = await world.admin()
    for key in ("reports/1.pdf", "reports/2.pdf"):
        await world.execute(
            "INSERT INTO jobs (name, queue, payload, status, created_by, max_attempts, finished_at, result) VALUES "
            "('report.utilisation', 'cpu', '{}', 'succeeded', :user, 1, now(), CAST(:result AS jsonb))",
            user=person.id,
            result=json.dumps({"file": {"key": key, "name": "a.pdf", "media_type": "application/pdf", "size": 4}}),
        )
    answer = await client.get(f"{API}/jobs/1/result", headers=person.headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
    async with httpx.AsyncClient(trust_env=False) as outside:
        assert (await outside.get(answer.headers["location"])).content == b"%PDF"
    assert (await client.get(f"{API}/jobs/2/result", headers=person.headers)).status_code == 404


async def test_a_photo_is_a_redirect(
    client: httpx.AsyncClient, container: Container, world: World, storage: S3Storage, app: Any
) -> None:
    """With a bucket, a photo's address sends whoever asks to the store, to be kept for less than the link is good, and
    shown, not saved; one that is gone is 404, and one that the client has is 304."""
    photos = dataclasses.replace(container.photos, storage=storage, link_seconds=60)
    app.state.container = dataclasses.replace(container, storage=storage, photos=photos)
    await world.doctor(photo="1/7-abc")
    await storage.put("photos/1/7-abc/small.webp", b"WebP")
    place = f"{API}/doctors/1/photo/small"
    for query, age in (("?v=7-abc", 30), ("", 30)):
        answer = await client.get(place + query)
        assert (answer.status_code, answer.headers["cache-control"]) == (307, f"public, max-age={age}")
        assert "etag" not in answer.headers
        async with httpx.AsyncClient(trust_env=False) as outside:
            shown = await outside.get(answer.headers["location"])
        assert (shown.content, shown.headers["content-type"]) == (b"WebP", "image/webp")
        assert "content-disposition" not in shown.headers
    assert (await client.get(f"{API}/doctors/1/photo/large")).status_code == 404
    assert (await client.get(place, headers={"If-None-Match": '"7-abc-small"'})).status_code == 304


async def test_what_is_below_a_folder_is_listed_and_tidied(storage: S3Storage, admin: Any) -> None:
    """Keys below a folder are listed, page after page, and uploads that were left there are ended, no others."""
    for key in ("backups/a/1", "backups/b/2", "backupsnot/3"):
        await storage.put(key, b"x")
    for key in ("backups/c/half", "other/half"):
        await admin.create_multipart_upload(Bucket=BUCKET, Key=key)
    assert {key async for key in storage.keys("backups")} == {"backups/a/1", "backups/b/2"}
    await storage.tidy("backups")
    left = await admin.list_multipart_uploads(Bucket=BUCKET)
    assert [found["Key"] for found in left["Uploads"]] == ["other/half"]
    await storage.tidy("other")
