"""The insurer's eligibility service: SOAP. zeep writes and reads the envelopes, our own client carries them."""

from datetime import date
from pathlib import Path
from typing import Any

import httpx
from lxml import etree
from pydantic import ValidationError
from requests import Response
from zeep import Client, Settings
from zeep.exceptions import Error, Fault
from zeep.transports import Transport

from app.config import InsurerSettings
from app.integrations.base import PartnerClient
from app.integrations.circuit_shared import Circuits
from app.integrations.clinic_partners import Eligibility
from app.integrations.errors import Malformed, Rejected, Unavailable
from app.integrations.exchange import Reply
from app.integrations.policy import Policy

# The contract as it was agreed on. It is not asked for at start: a partner that is away must not keep us from starting.
WSDL = Path(__file__).parent / "contracts" / "insurer.wsdl"
_OPERATION = "CheckEligibility"
# No document type, so no entities: neither bombs nor files and addresses of ours.
_SAFE = Settings(strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True, xml_huge_tree=False)


class _Local(Transport):  # type: ignore[misc]  # zeep has few types
    """Reads the contract from disk, and nothing from anywhere else."""

    def _load_remote_data(self, url: str) -> bytes:
        raise Error(f"{url}: is not to be loaded")


class InsurerClient(PartnerClient):
    vendor = "insurer"
    policy = Policy(read=10, attempt=12, total=30, max_bytes=256 * 1024)

    def __init__(
        self,
        settings: InsurerSettings,
        *,
        circuits: Circuits,
        policy: Policy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        key = settings.key.get_secret_value()
        headers = {"Api-Key": key} if key else {}
        self._url = settings.url
        super().__init__(settings.url, circuits=circuits, headers=headers, policy=policy, transport=transport)
        self._soap = Client(str(WSDL), transport=_Local(), settings=_SAFE)
        self._binding = next(iter(self._soap.wsdl.bindings.values()))
        self._operation = self._binding.get(_OPERATION)

    async def check(self, *, member_number: str, day: date, service_code: str) -> Eligibility:
        envelope = self._soap.create_message(
            self._soap.service, _OPERATION, memberNumber=member_number, day=day, serviceCode=service_code
        )
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{self._operation.soapaction}"'}
        content = etree.tostring(envelope, xml_declaration=True, encoding="utf-8")
        return await self.exchange(
            "check", "POST", self._url, content=content, headers=headers, repeatable=True, read=self._eligibility
        )

    def judge(self, reply: Reply) -> None:
        # SOAP 1.1 sends its faults with 500; they are told apart by their content.
        if reply.status == 500 and b"Fault" in reply.content:
            return
        super().judge(reply)

    def _eligibility(self, reply: Reply) -> Eligibility:
        answer = Response()
        answer.status_code, answer._content = reply.status, reply.content  # noqa: SLF001 - as zeep's own transports do
        answer.headers.update(reply.headers)
        try:
            found = self._binding.process_reply(self._soap, self._operation, answer)
            return Eligibility.model_validate(_plain(found))
        except Fault as fault:
            raise _refused(fault, reply) from None
        except (Error, etree.LxmlError, ValidationError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise Malformed(f"not as agreed: {type(error).__name__}", request_id=reply.request_id) from None


def _plain(found: Any) -> dict[str, Any]:
    return {
        "eligible": found.eligible,
        "plan": found.plan,
        # zeep makes None of what it can't read: such a value must not pass for one that was left out.
        "copay": found.copay,
        "currency": found.currency,
        "valid_until": found.validUntil,
    }


def _refused(fault: Any, reply: Reply) -> Rejected | Unavailable:
    code = str(fault.code or "").rpartition(":")[2][:64]
    # SOAP 1.1, 4.4.1: `Server` says that the same message may succeed later.
    if code.startswith("Server"):
        return Unavailable(f"answered with the fault {code}", request_id=reply.request_id)
    return Rejected(f"answered with the fault {code}", status=reply.status, code=code, request_id=reply.request_id)
