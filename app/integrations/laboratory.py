"""The laboratory's results: gRPC, under the same policy as everything else."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio
from pydantic import ValidationError

from app.config import LaboratorySettings
from app.core.context import current_cause
from app.integrations.circuit_shared import Circuits
from app.integrations.clinic_partners import LabResult
from app.integrations.contracts import laboratory_pb2
from app.integrations.errors import Malformed, PartnerError, RateLimited, Rejected, TimedOut, TooLarge, Unavailable
from app.integrations.guard import Guard
from app.integrations.policy import Policy

_LIST = "/laboratory.v1.Results/List"
_REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class LaboratoryClient:
    """One channel, connected by the first call. `grpcs://` is TLS, `grpc://` is not."""

    vendor = "laboratory"
    policy = Policy(attempt=5, total=15, max_bytes=1024 * 1024)

    def __init__(self, settings: LaboratorySettings, *, circuits: Circuits, policy: Policy | None = None) -> None:
        self._policy = policy or self.policy
        parts = urlsplit(settings.url)
        self._target, self._tls = parts.netloc, parts.scheme == "grpcs"
        self._token = settings.token.get_secret_value()
        self._guard = Guard(self.vendor, self._policy, circuits.of(f"{self.vendor}@{self._target}", self._policy))
        self._channel: grpc.aio.Channel | None = None

    async def results(self, *, order_number: str) -> list[LabResult]:
        request = laboratory_pb2.ListRequest(order_number=order_number)

        async def attempt(seconds: float) -> list[LabResult]:
            call = self._connected().unary_unary(
                _LIST,
                request_serializer=laboratory_pb2.ListRequest.SerializeToString,
                response_deserializer=laboratory_pb2.ListResponse.FromString,
            )(request, timeout=seconds, metadata=self._metadata())
            try:
                answer = await call
            except grpc.aio.AioRpcError as error:
                raise _translated(error) from error
            return _results(answer)

        return await self._guard.run("results", attempt, repeatable=True)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            options = [
                ("grpc.max_receive_message_length", self._policy.max_bytes),
                # Retries are the guard's alone, with its budget and its deadline.
                ("grpc.enable_retries", 0),
                ("grpc.enable_http_proxy", 0),
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 2000),
            ]
            if self._tls:
                self._channel = grpc.aio.secure_channel(self._target, grpc.ssl_channel_credentials(), options)
            else:
                self._channel = grpc.aio.insecure_channel(self._target, options)
        return self._channel

    def _metadata(self) -> list[tuple[str, str]]:
        cause = current_cause()
        named = {"x-request-id": cause.request_id, "traceparent": cause.traceparent}
        if self._token:
            named["authorization"] = f"Bearer {self._token}"
        return [(name, value) for name, value in named.items() if value]


def _results(answer: Any) -> list[LabResult]:
    try:
        return [
            LabResult(
                test=one.test,
                value=one.value,
                unit=one.unit,
                abnormal=one.abnormal,
                taken_at=datetime.fromtimestamp(one.taken_at_unix, UTC),
            )
            for one in answer.results
        ]
    except (ValidationError, ValueError, OverflowError, OSError) as error:
        raise Malformed(f"not as agreed: {type(error).__name__}") from None


def _translated(error: grpc.aio.AioRpcError) -> PartnerError:
    code, said = error.code(), f"answered {error.code().name}"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # The same code for a partner that has had enough, and for our own cap, which only its text tells apart.
        if "larger than max" in (error.details() or ""):
            return TooLarge("the answer exceeds the cap")
        return RateLimited(said, sent=False)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(said)
    if code in _REFUSALS:
        return Rejected(said, status=code.value[0], code=code.name)
    if code is grpc.StatusCode.INTERNAL:
        return Malformed(said)
    return Unavailable(said)
