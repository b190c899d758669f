"""A process that is killed while the payment provider is asked."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from deploy.local.engines import ValkeyEngine
from tests.hostile.process import ApiProcess
from tests.partners import running_sandbox
from tests.processes.ledger import Ledger
from tests.support import API, eventually


@pytest.mark.timeout(60)
async def test_the_repeat_gives_the_same_payment(ledger: Ledger, own_valkey: ValkeyEngine, tmp_path: Path) -> None:
    """The provider has acted and the service is killed before it knows: started again, the same key gives that very
    payment as soon as the dead process's lease is over, and gives it again."""
    world = ledger.world
    with running_sandbox() as sandbox:
        api = ApiProcess(tmp_path, {"PAYMENTS_URL": sandbox.url, "REDIS_URL": own_valkey.url})
        await api.start()
        try:
            person, product_id = await world.person(), await world.product()
            items = {"items": [{"product_id": product_id, "quantity": 1}]}
            place = (await api.ask("POST", f"{API}/orders", person.headers, items)).headers["location"]
            keyed = person.headers | {"Idempotency-Key": "k"}

            async def pay() -> Any:
                return await api.ask("POST", f"{place}/pay", keyed, b"")

            async def acted() -> bool:
                return len(sandbox.payments) == 1

            sandbox.fault("lost_answer", seconds=60, times=None)
            dying = asyncio.create_task(pay())
            await eventually(acted)
            api.kill()
            with pytest.raises((OSError, EOFError)):
                await dying
            sandbox._call("DELETE", "/sandbox/faults")
            await api.start()

            async def paid() -> Any:
                answer = await pay()
                assert answer.status in (200, 409), answer.body
                return answer.status == 200 and answer

            found, again = await eventually(paid), await pay()
            assert found.json()["payment_id"] == sandbox.payments[0]["payment_id"]
            assert (again.body, again.headers["idempotency-replayed"]) == (found.body, "true")
            assert len(sandbox.payments) == await world.count("payments") == 1
        finally:
            api.stop()
