"""Object storage in a bucket of S3 or of anything that speaks its protocol."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from app.config import StorageSettings
from app.integrations.aws import AWS_ERRORS, AwsClient, error_code
from app.integrations.storage import CHUNK_SIZE, ObjectMissing, StorageUnavailable, check_key

# S3 takes no smaller parts but the last, and at most 10,000: objects up to 80 GB.
PART_SIZE = 8 * 1024 * 1024
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


class S3Storage:
    """Streams both ways: one part of an upload, one chunk of a download is in memory at a time."""

    def __init__(self, settings: StorageSettings) -> None:
        self._bucket = settings.bucket
        self._client = self._made(settings, settings.endpoint)
        # A link is signed for the host that its reader sees, which may not be the one that we see.
        self._outside = self._made(settings, settings.public_endpoint or settings.endpoint)

    @staticmethod
    def _made(settings: StorageSettings, endpoint: str) -> AwsClient:
        return AwsClient(
            "s3",
            endpoint=endpoint or None,
            region=settings.region,
            access_key=settings.access_key.get_secret_value() or None,
            secret_key=settings.secret_key.get_secret_value() or None,
            timeout=settings.timeout,
        )

    async def put(self, key: str, chunks: AsyncIterator[bytes] | bytes) -> int:
        check_key(key)
        if isinstance(chunks, bytes):
            await self._call("put_object", key, Body=chunks)
            return len(chunks)
        size, held, upload = 0, bytearray(), None
        try:
            async for chunk in chunks:
                size += len(chunk)
                held += chunk
                while len(held) >= PART_SIZE:
                    upload = upload or _Upload(self, key)
                    await upload.part(bytes(held[:PART_SIZE]))
                    del held[:PART_SIZE]
            if upload is None:
                await self._call("put_object", key, Body=bytes(held))
            else:
                if held:
                    await upload.part(bytes(held))
                await upload.complete()
        except BaseException:
            if upload is not None:
                await upload.abort()
            raise
        return size

    async def open(self, key: str) -> AsyncIterator[bytes]:
        check_key(key)
        answer = await self._call("get_object", key)
        try:
            async with answer["Body"] as body:
                async for chunk in body.iter_chunks(CHUNK_SIZE):
                    yield chunk
        except AWS_ERRORS as error:
            raise StorageUnavailable(_reason(error)) from error

    async def size(self, key: str) -> int:
        check_key(key)
        return int((await self._call("head_object", key))["ContentLength"])

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._call("delete_object", key)

    async def link(self, key: str, *, seconds: int, media_type: str, name: str | None = None) -> str | None:
        check_key(key)
        parameters = {"Bucket": self._bucket, "Key": key, "ResponseContentType": media_type}
        if name is not None:
            parameters["ResponseContentDisposition"] = f'attachment; filename="{name}"'
        try:
            client = await self._outside.get()
            return str(await client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds))
        except AWS_ERRORS as error:
            raise StorageUnavailable(_reason(error)) from error

    async def keys(self, folder: str) -> AsyncIterator[str]:
        check_key(folder)
        async for page in self._pages("list_objects_v2", folder):
            for found in page.get("Contents", []):
                yield found["Key"]

    async def tidy(self, folder: str) -> None:
        check_key(folder)
        async for page in self._pages("list_multipart_uploads", folder):
            for found in page.get("Uploads", []):
                with suppress(ObjectMissing):
                    await self._call("abort_multipart_upload", found["Key"], UploadId=found["UploadId"])

    async def _pages(self, operation: str, folder: str) -> AsyncIterator[Any]:
        try:
            client = await self._client.get()
            async for page in client.get_paginator(operation).paginate(Bucket=self._bucket, Prefix=f"{folder}/"):
                yield page
        except AWS_ERRORS as error:
            raise StorageUnavailable(_reason(error)) from error

    async def close(self) -> None:
        await self._client.close()
        await self._outside.close()

    async def _call(self, operation: str, key: str, **parameters: Any) -> Any:
        try:
            client = await self._client.get()
            return await getattr(client, operation)(Bucket=self._bucket, Key=key, **parameters)
        except AWS_ERRORS as error:
            if error_code(error) in _MISSING:
                raise ObjectMissing(key) from error
            raise StorageUnavailable(_reason(error)) from error


class _Upload:
    """An object that arrives in parts and appears when the last one is there."""

    def __init__(self, storage: S3Storage, key: str) -> None:
        self._call = storage._call  # noqa: SLF001 - a part of it
        self._key = key
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []

    async def part(self, data: bytes) -> None:
        if self._id is None:
            self._id = (await self._call("create_multipart_upload", self._key))["UploadId"]
        number = len(self._parts) + 1
        said = await self._call("upload_part", self._key, UploadId=self._id, PartNumber=number, Body=data)
        self._parts.append({"PartNumber": number, "ETag": said["ETag"]})

    async def complete(self) -> None:
        parts = {"Parts": self._parts}
        await self._call("complete_multipart_upload", self._key, UploadId=self._id, MultipartUpload=parts)

    async def abort(self) -> None:
        """Parts without an object cost money; what can't be told now is left to the bucket's lifecycle rule."""
        with suppress(ObjectMissing, StorageUnavailable):
            if self._id is not None:
                await self._call("abort_multipart_upload", self._key, UploadId=self._id)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__} {error_code(error)}".rstrip()
