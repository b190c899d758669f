"""The directory of partner clinics: GraphQL."""

from typing import Any

import httpx
from gql import GraphQLRequest, gql
from pydantic import BaseModel

from app.config import DirectorySettings
from app.integrations.base import PartnerClient, parsed
from app.integrations.circuit_shared import Circuits
from app.integrations.clinic_partners import ReferralDoctor
from app.integrations.errors import Malformed, Rejected, Unavailable
from app.integrations.exchange import Reply
from app.integrations.policy import Policy

# Parsed when the file is loaded: a query with a mistake in it starts no process.
SEARCH = gql("""
query Search($specialty: String!, $city: String, $first: Int!) {
  doctors(specialty: $specialty, city: $city, first: $first) { id name specialty city acceptsReferrals }
}
""")
_TRANSIENT = frozenset({"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "RATE_LIMITED", "TIMEOUT"})


class _Extensions(BaseModel):
    code: str | None = None


class _Error(BaseModel):
    extensions: _Extensions = _Extensions()


class _Doctors(BaseModel):
    doctors: list[ReferralDoctor]


class _Answer(BaseModel):
    data: _Doctors | None = None
    errors: list[_Error] | None = None


class DirectoryClient(PartnerClient):
    vendor = "directory"
    policy = Policy(max_bytes=1024 * 1024)

    def __init__(
        self,
        settings: DirectorySettings,
        *,
        circuits: Circuits,
        policy: Policy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        token = settings.token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = settings.url
        super().__init__(settings.url, circuits=circuits, headers=headers, policy=policy, transport=transport)

    async def search(self, *, specialty: str, city: str | None = None, limit: int = 20) -> list[ReferralDoctor]:
        variables: dict[str, Any] = {"specialty": specialty, "city": city, "first": limit}
        payload = GraphQLRequest(SEARCH, variable_values=variables).payload
        return await self.exchange("search", "POST", self._url, json=payload, repeatable=True, read=_doctors)


def _doctors(reply: Reply) -> list[ReferralDoctor]:
    answer = parsed(reply, _Answer)
    # GraphQL says 200 to everything: what went wrong is in the body.
    if answer.errors:
        code = answer.errors[0].extensions.code
        if code in _TRANSIENT:
            raise Unavailable(f"answered with the error {code}", request_id=reply.request_id)
        raise Rejected(f"answered with the error {code}", status=reply.status, code=code, request_id=reply.request_id)
    if answer.data is None:
        raise Malformed("neither data nor errors", request_id=reply.request_id)
    return answer.data.doctors
