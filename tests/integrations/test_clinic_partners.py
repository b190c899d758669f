"""Referrals by GraphQL, insurance by SOAP, laboratory by gRPC: each against a real server of its protocol."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import graphql
import grpc.aio
import pytest
from lxml import etree
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.config import DirectorySettings, InsurerSettings, LaboratorySettings, Settings
from app.core.context import Cause, bound
from app.integrations.circuit_shared import Circuits
from app.integrations.contracts import laboratory_pb2
from app.integrations.deadline import within
from app.integrations.directory import SEARCH, DirectoryClient
from app.integrations.errors import (
    CircuitOpen,
    Malformed,
    PartnerError,
    RateLimited,
    Rejected,
    TimedOut,
    TooLarge,
    Unavailable,
)
from app.integrations.insurer import InsurerClient
from app.integrations.laboratory import LaboratoryClient
from app.services.clinic_partners import make_clinic_partners
from tests.integrations.partner import QUICK
from tests.partners import serving

RULES = replace(QUICK, attempt=2, total=5, max_bytes=64 * 1024, failures=4, open_for=5)
ROOT = Path(__file__).resolve().parents[2]

SCHEMA = graphql.build_schema("""
type Doctor { id: ID! name: String! specialty: String! city: String! acceptsReferrals: Boolean! }
type Query { doctors(specialty: String!, city: String, first: Int!): [Doctor!]! }
""")
DOCTORS = [
    {"id": "d1", "name": "Dr. Ada", "specialty": "cardiology", "city": "Berlin", "acceptsReferrals": True},
    {"id": "d2", "name": "Dr. Bo", "specialty": "cardiology", "city": "Bonn", "acceptsReferrals": False},
]


class Scripted:
    """What the partner answers next, in place of its own answer; and the requests it has seen."""

    def __init__(self) -> None:
        self.next: list[Response] = []
        self.seen: list[tuple[dict[str, str], bytes]] = []


@pytest.fixture(scope="module")
def script() -> Scripted:
    return Scripted()


@pytest.fixture(scope="module")
def url(script: Scripted) -> Iterator[str]:
    """A GraphQL server and a SOAP server on one socket."""

    def scripted(handle: Callable[[bytes], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            body = await request.body()
            script.seen.append((dict(request.headers), body))
            return script.next.pop(0) if script.next else await handle(body)

        return answer

    async def directory(body: bytes) -> Response:
        asked = json.loads(body)

        def doctors(_info: Any, specialty: str, first: int, city: str | None = None) -> list[dict[str, Any]]:
            if specialty == "unknown":
                raise graphql.GraphQLError("no such specialty", extensions={"code": "BAD_USER_INPUT"})
            return [one for one in DOCTORS if one["specialty"] == specialty and city in {None, one["city"]}][:first]

        result = graphql.graphql_sync(SCHEMA, asked["query"], {"doctors": doctors}, variable_values=asked["variables"])
        return JSONResponse(result.formatted)

    async def insurer(body: bytes) -> Response:
        sent = etree.fromstring(body)
        ns = {"t": "urn:insurer:eligibility:1"}
        member = sent.findtext(".//t:memberNumber", namespaces=ns)
        assert sent.findtext(".//t:day", namespaces=ns) == "2026-12-01"
        if member == "nobody":
            return soap(FAULT.format(code="soap:Client.UnknownMember"), status=500)
        return soap(ELIGIBLE)

    routes = [
        Route("/graphql", scripted(directory), methods=["POST"]),
        Route("/soap", scripted(insurer), methods=["POST"]),
    ]
    with serving(Starlette(routes=routes)) as address:
        yield address


ENVELOPE = (
    '<?xml version="1.0"?>{dtd}<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
    "<soap:Body>{body}</soap:Body></soap:Envelope>"
)
ELIGIBLE = (
    '<Eligibility xmlns="urn:insurer:eligibility:1"><eligible>true</eligible><plan>Gold &amp; more</plan>'
    "<copay>500</copay><currency>EUR</currency><validUntil>2027-01-31</validUntil></Eligibility>"
)
FAULT = "<soap:Fault><faultcode>{code}</faultcode><faultstring>s3cr3t</faultstring></soap:Fault>"


def soap(body: str, *, dtd: str = "", status: int = 200) -> Response:
    return Response(ENVELOPE.format(dtd=dtd, body=body), status_code=status, media_type="text/xml")


@pytest.fixture
async def directory(url: str, script: Scripted) -> AsyncIterator[DirectoryClient]:
    script.next.clear()
    script.seen.clear()
    settings = DirectorySettings(url=f"{url}/graphql", token=SecretStr("a-token"))
    client = DirectoryClient(settings, circuits=Circuits(None), policy=RULES)
    yield client
    await client.close()


@pytest.fixture
async def insurer(url: str, script: Scripted) -> AsyncIterator[InsurerClient]:
    script.next.clear()
    script.seen.clear()
    client = InsurerClient(InsurerSettings(url=f"{url}/soap"), circuits=Circuits(None), policy=RULES)
    yield client
    await client.close()


async def check(insurer: InsurerClient, member: str = "M-1") -> Any:
    return await insurer.check(member_number=member, day=date(2026, 12, 1), service_code="XR")


async def test_doctors_are_found(directory: DirectoryClient, script: Scripted) -> None:
    """The query reaches a real GraphQL server with its variables, our token and the trace of its cause."""
    with bound(Cause(request_id="req-1")):
        found = await directory.search(specialty="cardiology", city="Berlin")
    assert [(one.id, one.accepts_referrals) for one in found] == [("d1", True)]
    assert len(await directory.search(specialty="cardiology")) == 2
    headers, _ = script.seen[0]
    assert (headers["authorization"], headers["x-request-id"]) == ("Bearer a-token", "req-1")
    assert graphql.validate(SCHEMA, SEARCH.document) == []


GRAPHQL_FAULTS = [
    ({"errors": [{"message": "x", "extensions": {"code": "BAD_USER_INPUT"}}]}, Rejected, 1),
    ({"errors": [{"message": "x"}], "data": None}, Rejected, 1),
    ({"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}, Unavailable, 3),
    ({"data": {"doctors": [{"id": "d1"}]}}, Malformed, 3),
    ({"data": None}, Malformed, 3),
    ([], Malformed, 3),
]


@pytest.mark.parametrize(("answer", "kind", "attempts"), GRAPHQL_FAULTS)
async def test_errors_of_graphql_are_ours(
    directory: DirectoryClient, script: Scripted, answer: Any, kind: type[PartnerError], attempts: int
) -> None:
    """What GraphQL says with 200 is told apart: refused, away, or not as agreed; only what may pass is repeated."""
    script.next[:] = [JSONResponse(answer) for _ in range(3)]
    with pytest.raises(kind):
        await directory.search(specialty="cardiology")
    assert len(script.seen) == attempts


async def test_eligibility_is_answered(insurer: InsurerClient, script: Scripted) -> None:
    """zeep's envelope is understood by a SOAP server, and its answer arrives typed."""
    found = await check(insurer)
    assert (found.eligible, found.plan, found.copay, found.valid_until) == (
        True,
        "Gold & more",
        500,
        date(2027, 1, 31),
    )
    headers, body = script.seen[0]
    assert headers["soapaction"] == '"urn:insurer:eligibility:1:CheckEligibility"'
    assert b"<" in body


async def test_a_fault_of_the_caller_is_a_refusal(insurer: InsurerClient, script: Scripted) -> None:
    """A Client fault, which SOAP sends with 500, is not repeated; its text stays out of ours."""
    with pytest.raises(Rejected) as refused:
        await check(insurer, "nobody")
    assert refused.value.partner_code == "Client.UnknownMember"
    assert "s3cr3t" not in str(refused.value)
    assert len(script.seen) == 1


async def test_a_fault_of_the_server_passes(insurer: InsurerClient, script: Scripted) -> None:
    """A Server fault and a bare 500 are repeated, and then there is an answer."""
    script.next[:] = [soap(FAULT.format(code="soap:Server"), status=500), Response(status_code=500)]
    assert (await check(insurer)).eligible
    assert len(script.seen) == 3


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<!DOCTYPE soap [<!ENTITY l0 "ha">{LAUGHS}]>'
FILE = '<!DOCTYPE soap [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
PLAN = '<Eligibility xmlns="urn:insurer:eligibility:1"><eligible>true</eligible><plan>&{};</plan></Eligibility>'


@pytest.mark.parametrize(
    "answer",
    [
        lambda: soap(PLAN.format("l9"), dtd=BOMB),
        lambda: soap(PLAN.format("f"), dtd=FILE),
        lambda: soap(ELIGIBLE, dtd="<!DOCTYPE soap>"),
        lambda: Response("<html>", media_type="text/html"),
        lambda: Response(b"\xff\xfe\x00", media_type="text/xml"),
        lambda: Response("", media_type="text/xml"),
        lambda: soap(ELIGIBLE.replace("500", "many")),
        lambda: soap("<Other/>"),
        lambda: soap("<a>" * 5000 + "</a>" * 5000),
        lambda: Response(ENVELOPE, media_type="multipart/related"),
    ],
    ids=["bomb", "file", "doctype", "html", "bytes", "empty", "wrong-type", "other", "deep", "multipart"],
)
async def test_xml_that_means_harm_is_malformed(
    insurer: InsurerClient, script: Scripted, answer: Callable[[], Response]
) -> None:
    """Entities, files, garbage and wrong types are all Malformed, quickly, and nothing of them is quoted."""
    script.next[:] = [answer() for _ in range(3)]
    with within(5), pytest.raises(Malformed) as refused:
        await check(insurer)
    assert "root:" not in str(refused.value)


class Lab:
    """A laboratory that does as it is told, one call at a time."""

    def __init__(self) -> None:
        self.plan: list[Any] = []
        self.metadata: list[dict[str, Any]] = []

    async def list(self, _: Any, context: Any) -> Any:
        self.metadata.append(dict(context.invocation_metadata()))
        step = self.plan.pop(0) if self.plan else None
        if isinstance(step, grpc.StatusCode):
            await context.abort(step, "s3cr3t")
        if isinstance(step, float):
            await asyncio.sleep(step)
        size = step if isinstance(step, int) and not isinstance(step, bool) else 1
        one = laboratory_pb2.Result(test="CRP", value=4.5, unit="mg/l", abnormal=True, taken_at_unix=1_790_000_000)
        return laboratory_pb2.ListResponse(results=[one] * size)


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
async def laboratory(lab: Lab) -> AsyncIterator[LaboratoryClient]:
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(
        lab.list,
        request_deserializer=laboratory_pb2.ListRequest.FromString,
        response_serializer=laboratory_pb2.ListResponse.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler("laboratory.v1.Results", {"List": method})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    settings = LaboratorySettings(url=f"grpc://127.0.0.1:{port}", token=SecretStr("a-token"))
    client = LaboratoryClient(settings, circuits=Circuits(None), policy=RULES)
    yield client
    await client.close()
    await server.stop(0)


async def test_results_arrive_typed(laboratory: LaboratoryClient, lab: Lab) -> None:
    """A real gRPC server answers; token and request id go along as metadata."""
    with bound(Cause(request_id="req-9")):
        (found,) = await laboratory.results(order_number="L-1")
    assert (found.test, found.value, found.abnormal, found.taken_at.year) == ("CRP", 4.5, True, 2026)
    assert (lab.metadata[0]["authorization"], lab.metadata[0]["x-request-id"]) == ("Bearer a-token", "req-9")


@pytest.mark.parametrize(
    ("step", "kind", "attempts"),
    [
        (grpc.StatusCode.NOT_FOUND, Rejected, 1),
        (grpc.StatusCode.UNAUTHENTICATED, Rejected, 1),
        (grpc.StatusCode.UNAVAILABLE, Unavailable, 3),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RateLimited, 3),
        (grpc.StatusCode.INTERNAL, Malformed, 3),
        (5000, TooLarge, 1),
    ],
)
async def test_statuses_of_grpc_are_ours(
    laboratory: LaboratoryClient, lab: Lab, step: Any, kind: type[PartnerError], attempts: int
) -> None:
    """Each status is one of our errors, repeated only where that may help; an answer beyond the cap is not taken."""
    lab.plan[:] = [step] * 3
    with pytest.raises(kind) as ended:
        await laboratory.results(order_number="L-1")
    assert len(lab.metadata) == attempts
    assert "s3cr3t" not in str(ended.value)


async def test_a_silent_laboratory_is_left_at_the_deadline(laboratory: LaboratoryClient, lab: Lab) -> None:
    """The caller's deadline holds for gRPC as for HTTP."""
    lab.plan[:] = [30.0] * 3
    started = asyncio.get_running_loop().time()
    with within(0.3), pytest.raises(TimedOut):
        await laboratory.results(order_number="L-1")
    assert asyncio.get_running_loop().time() - started < 3


async def test_the_circuit_holds_for_grpc(laboratory: LaboratoryClient, lab: Lab) -> None:
    """A laboratory that keeps failing is not called any more."""
    lab.plan[:] = [grpc.StatusCode.UNAVAILABLE] * 20
    for kind in (Unavailable, CircuitOpen):
        with pytest.raises(kind):
            await laboratory.results(order_number="L-1")
    assert len(lab.metadata) == RULES.failures


def test_the_generated_code_is_that_of_the_contract(tmp_path: Path) -> None:
    """laboratory_pb2 is what the compiler makes of laboratory.proto: nobody has edited one without the other."""
    contracts = ROOT / "app" / "integrations" / "contracts"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", "laboratory.proto"],
        cwd=contracts,
        check=True,
    )
    made = (tmp_path / "laboratory_pb2.py").read_text()
    assert made == (contracts / "laboratory_pb2.py").read_text()


async def test_only_partners_that_are_set_are_there() -> None:
    """Without an address there is no partner; with one there is."""
    none = make_clinic_partners(Settings.model_construct(), Circuits(None))
    assert (none.directory, none.insurer, none.laboratory) == (None, None, None)
    settings = Settings.model_construct(
        directory=DirectorySettings(url="https://directory.example/graphql"),
        insurer=InsurerSettings(url="https://insurer.example/soap"),
        laboratory=LaboratorySettings(url="grpcs://lab.example:443"),
    )
    partners = make_clinic_partners(settings, Circuits(None))
    assert partners.directory is not None
    assert partners.insurer is not None
    assert partners.laboratory is not None
    await partners.close()
