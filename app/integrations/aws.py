"""Clients of services that speak AWS's protocols, wherever they run."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

# What the wire, the service and the library do; a ClientError is an answer and is looked at first.
AWS_ERRORS = (ClientError, BotoCoreError, HTTPClientError, aiohttp.ClientError, TimeoutError, OSError)


class AwsClient:
    """A client made at its first use, in the loop that uses it. Without keys the library's own chain finds them
    (instance role, environment). `timeout` in seconds, for connecting and for each silence.
    """

    def __init__(
        self,
        service: str,
        *,
        endpoint: str | None,
        region: str,
        access_key: str | None,
        secret_key: str | None,
        timeout: float = 5,
    ) -> None:
        self._service = service
        self._options = {
            "endpoint_url": endpoint,
            "region_name": region,
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
        }
        self._timeout = timeout
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def get(self) -> Any:
        """The client; its methods are the service's operations."""
        async with self._lock:
            if self._client is None:
                session = get_session()
                # Megabytes of JSON describe the services: not on the event loop.
                await asyncio.to_thread(_load, session, self._service)
                config = AioConfig(
                    connect_timeout=self._timeout,
                    read_timeout=self._timeout,
                    retries={"max_attempts": 3, "mode": "standard"},
                    s3={"addressing_style": "path"},
                    max_pool_connections=20,
                )
                made = session.create_client(self._service, config=config, **self._options)
                self._client = await self._stack.enter_async_context(made)
            return self._client

    async def close(self) -> None:
        await self._stack.aclose()
        self._client = None


def error_code(error: BaseException) -> str:
    """The service's code, empty when it gave none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _load(session: AioSession, service: str) -> None:
    loader = session.get_component("data_loader")
    loader.load_service_model(service, "service-2")
    loader.load_service_model(service, "endpoint-rule-set-1")
    loader.load_data_with_path("endpoints")
