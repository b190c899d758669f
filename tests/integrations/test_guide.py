"""The example of docs/integrations.md does what the page says."""

import re
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.integrations.circuit_shared import Circuits
from tests.partners import serving

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "integrations.md"


async def test_a_new_vendor_is_one_short_file() -> None:
    """Fewer than 40 lines, taken from the page: a message goes out once though the first answer is a 500."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) < 40
    module: dict[str, Any] = {"__name__": "sms"}
    exec(compile(code, "sms.py", "exec"), module)  # noqa: S102 - our own page
    sent: dict[str, str] = {}
    calls = 0

    async def messages(request: Request) -> Response:
        nonlocal calls
        calls += 1
        assert request.headers["authorization"] == "Bearer t"
        sent.setdefault(request.headers["idempotency-key"], (await request.json())["text"])
        return JSONResponse({"message_id": "m1"}, status_code=500 if calls == 1 else 201)

    with serving(Starlette(routes=[Route("/messages", messages, methods=["POST"])])) as url:
        client = module["SmsClient"](url, "t", circuits=Circuits(None))
        assert (await client.send(to="+49", text="hello", key="k")).message_id == "m1"
        await client.close()
    assert (sent, calls) == ({"k": "hello"}, 2)
