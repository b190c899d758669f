"""What the image can do that no start of a role shows: run in it by `image_test`, with nothing but what is in it.

Documents, pictures, and a call of each client whose library is loaded late or is large, against servers of their
protocols in the same container. What `slim.sh` and `compile.py` take away too much, fails here.
"""

import asyncio
import hashlib
import io
import json
import tempfile
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import uvicorn
from PIL import Image, ImageCms
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.config import DirectorySettings, EventsSettings, InsurerSettings, LaboratorySettings, StorageSettings
from app.integrations.circuit_shared import Circuits
from app.integrations.contracts import laboratory_pb2
from app.integrations.directory import DirectoryClient
from app.integrations.event_bus import OuterEvent
from app.integrations.event_bus_sqs import Sqs
from app.integrations.insurer import InsurerClient
from app.integrations.laboratory import LaboratoryClient
from app.integrations.storage_s3 import S3Storage
from app.schemas.reports import DayUtilisation, DoctorUtilisation, UtilisationReport
from app.services.photo_images import render_photos
from app.services.report_pdf import render_utilisation_pdf
from app.services.report_xlsx import Field, Workbook

ELIGIBLE = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
    '<Eligibility xmlns="urn:insurer:eligibility:1"><eligible>true</eligible><plan>Gold</plan><copay>500</copay>'
    "<currency>EUR</currency><validUntil>2027-01-31</validUntil></Eligibility></soap:Body></soap:Envelope>"
)
OBJECTS: dict[str, bytes] = {}


def documents() -> None:
    """A PDF with its fonts and a workbook; photos of each format that is taken, one with a colour profile."""
    report = UtilisationReport(
        clinic_name="Clinic",
        timezone="Europe/Berlin",
        from_day=date(2026, 3, 1),
        to_day=date(2026, 4, 1),
        generated_at=datetime(2026, 4, 1, 12, tzinfo=UTC),
        doctors=[
            DoctorUtilisation(
                doctor_id=1,
                full_name="Dr Amélie Łukasz",
                specialty="Cardiology",
                available_minutes=600,
                booked_minutes=450,
                appointments=15,
                completed=11,
                cancelled=3,
                no_show=1,
            )
        ],
        days=[DayUtilisation(day=date(2026, 3, 2), available_minutes=480, booked_minutes=240)],
    )
    pdf = render_utilisation_pdf(report)
    expect(pdf.startswith(b"%PDF") and b"/FontFile2" in pdf, "the report is a PDF with its own typeface")
    with tempfile.TemporaryDirectory() as folder:
        book = Workbook(Path(folder) / "book", title="Report", organisation="Clinic")
        table = book.table("Days", [Field("Day", "day"), Field("Share", "share")])
        table.add([(date(2026, 3, 2), 0.5)])
        table.end()
        book.close()
        expect((Path(folder) / "book").read_bytes().startswith(b"PK"), "the workbook is an archive")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for form in ("JPEG", "PNG", "WEBP"):
        file = io.BytesIO()
        Image.new("RGB", (600, 300), (200, 30, 30)).save(file, form, icc_profile=profile)
        photos = render_photos(file.getvalue(), max_pixels=1_000_000)
        expect(
            len(photos) == 3 and all(b"WEBP" in photo[:16] for photo in photos.values()), f"three photos of a {form}"
        )


async def object_of_s3(request: Request) -> Response:
    if request.method == "PUT":
        OBJECTS[request.url.path] = await request.body()
        return Response(headers={"ETag": '"1"'})
    return Response(OBJECTS[request.url.path], headers={"ETag": '"1"'})


async def partner(request: Request) -> Response:
    """GraphQL, SOAP and SQS, each as far as one call needs it."""
    body = await request.body()
    if request.url.path == "/graphql":
        found = {"id": "1", "name": "Dr Ada", "specialty": "cardiology", "city": "Berlin", "acceptsReferrals": True}
        return JSONResponse({"data": {"doctors": [found]}})
    if request.url.path == "/soap":
        return Response(ELIGIBLE, media_type="text/xml")
    text = json.loads(body)["MessageBody"].encode()
    digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
    return JSONResponse({"MessageId": "1", "MD5OfMessageBody": digest}, media_type="application/x-amz-json-1.0")


class Laboratory(grpc.GenericRpcHandler):  # type: ignore[misc, unused-ignore]  # grpc has no types
    """Answers every method with one result."""

    def service(self, handler_call_details: Any) -> Any:  # noqa: ARG002 - grpc's name

        async def answer(request: Any, context: Any) -> Any:  # noqa: ARG001
            return laboratory_pb2.ListResponse()

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=laboratory_pb2.ListRequest.FromString,
            response_serializer=laboratory_pb2.ListResponse.SerializeToString,
        )


async def clients(url: str) -> None:
    """One call of each, to its server and back."""
    circuits = Circuits(None)
    directory = DirectoryClient(DirectorySettings(url=f"{url}/graphql"), circuits=circuits)
    expect((await directory.search(specialty="cardiology"))[0].name == "Dr Ada", "GraphQL is answered")
    await directory.close()

    insurer = InsurerClient(InsurerSettings(url=f"{url}/soap"), circuits=circuits)
    found = await insurer.check(member_number="M-1", day=date(2026, 12, 1), service_code="XR")
    expect(found.plan == "Gold", "SOAP is answered")
    await insurer.close()

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Laboratory(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    laboratory = LaboratoryClient(LaboratorySettings(url=f"grpc://127.0.0.1:{port}"), circuits=circuits)
    expect(await laboratory.results(order_number="L-1") == [], "gRPC is answered")
    await laboratory.close()
    await server.stop(None)
    grpc.ssl_channel_credentials()

    keys = {"access_key": SecretStr("key"), "secret_key": SecretStr("secret")}
    storage = S3Storage(StorageSettings(backend="s3", bucket="files", endpoint=url, **keys))
    await storage.put("a/b", b"content")
    expect([chunk async for chunk in storage.open("a/b")] == [b"content"], "S3 keeps and gives")
    expect("Signature" in str(await storage.link("a/b", seconds=60, media_type="text/plain")), "S3 signs a link")
    await storage.close()

    queue = Sqs(EventsSettings(enabled=True, backend="sqs", endpoint=url, outbox=f"{url}/queue", **keys))
    await queue.publish(OuterEvent(id="1", type="order.paid", source="test", occurred_at=datetime.now(UTC), data={}))
    await queue.close()


def expect(true: bool, sentence: str) -> None:
    if not true:
        raise SystemExit(f"not so: {sentence}")


def main() -> None:
    documents()
    routes = [
        Route("/files/{key:path}", object_of_s3, methods=["GET", "PUT"]),
        Route("/{path:path}", partner, methods=["POST"]),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        asyncio.run(clients(f"http://127.0.0.1:{port}"))
    finally:
        server.should_exit = True
        thread.join()
    print("documents, photos, GraphQL, SOAP, gRPC, S3 and SQS work")


if __name__ == "__main__":
    main()
