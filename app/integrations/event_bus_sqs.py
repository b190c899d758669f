"""Events over SQS."""

from typing import Any

from app.config import EventsSettings
from app.integrations.aws import AWS_ERRORS, AwsClient, error_code
from app.integrations.event_bus import BusUnavailable, Delivery, OuterEvent

_LONGEST_REASON = 200


class Sqs:
    """`wait` is the long poll, in whole seconds. A message that is not acknowledged comes again after the queue's own
    visibility timeout.
    """

    def __init__(self, settings: EventsSettings, *, wait: int = 2) -> None:
        self._settings = settings
        self._wait = wait
        self._client = AwsClient(
            "sqs",
            endpoint=settings.endpoint or None,
            region=settings.region,
            access_key=settings.access_key.get_secret_value() or None,
            secret_key=settings.secret_key.get_secret_value() or None,
            timeout=wait + 5,
        )

    async def publish(self, event: OuterEvent) -> None:
        await self._call("send_message", self._settings.outbox, MessageBody=event.model_dump_json())

    async def receive(self, *, limit: int = 10) -> list[Delivery]:
        answer = await self._call(
            "receive_message",
            self._settings.inbox,
            MaxNumberOfMessages=min(limit, 10),
            WaitTimeSeconds=self._wait,
            AttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Delivery(
                message["ReceiptHandle"],
                message["Body"].encode(),
                int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
            for message in answer.get("Messages", [])
        ]

    async def ack(self, delivery: Delivery) -> None:
        await self._call("delete_message", self._settings.inbox, ReceiptHandle=delivery.handle)

    async def bury(self, delivery: Delivery, *, reason: str) -> None:
        # In this order: a crash in between buries twice, and loses nothing.
        why = {"reason": {"DataType": "String", "StringValue": reason[:_LONGEST_REASON] or "?"}}
        body = delivery.body.decode(errors="replace") or "?"
        await self._call("send_message", self._settings.dead, MessageBody=body, MessageAttributes=why)
        await self.ack(delivery)

    async def close(self) -> None:
        await self._client.close()

    async def _call(self, operation: str, queue: str, **parameters: Any) -> Any:
        try:
            client = await self._client.get()
            return await getattr(client, operation)(QueueUrl=queue, **parameters)
        except AWS_ERRORS as error:
            raise BusUnavailable(f"{type(error).__name__} {error_code(error)}".rstrip()) from error
