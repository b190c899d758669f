"""The receiver of docs/webhooks.md tells what is ours from what is not."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.core.webhook_signatures import new_secret, secret_key, sign

PAGE = Path(__file__).resolve().parents[1] / "docs" / "webhooks.md"
SECRET, BODY = new_secret(), b'{"type": "appointment.booked"}'
IsOurs = Callable[[str, dict[str, str], bytes], bool]


@pytest.fixture(scope="module")
def is_ours() -> IsOurs:
    """The function as the page has it."""
    (code,) = [
        one for one in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "def is_ours" in one
    ]
    module: dict[str, Any] = {}
    exec(compile(code, "receiver.py", "exec"), module)  # noqa: S102 - our own page
    found: IsOurs = module["is_ours"]
    return found


def signed(*, at: float = 0.0, **others: str) -> dict[str, str]:
    """Headers as we send them `at` seconds from now, but for the `others`."""
    sent = str(int(time.time() + at))
    signature = sign(secret_key(SECRET), event_id=b"msg_1", timestamp=sent.encode(), body=BODY).decode()
    given = {"id": "msg_1", "timestamp": sent, "signature": f"v1,AAAA {signature}"} | others
    return {f"webhook-{name}": value for name, value in given.items()}


def test_what_we_send_is_ours(is_ours: IsOurs) -> None:
    """One of several signatures is enough; a minute of delay does no harm."""
    assert is_ours(SECRET, signed(), BODY)
    assert is_ours(SECRET, signed(at=-60), BODY)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_missing(is_ours: IsOurs, name: str) -> None:
    """Without any one of the three, or without all, it is not ours."""
    headers = signed()
    del headers[name]
    assert is_ours(SECRET, headers, BODY) is False
    assert is_ours(SECRET, {}, BODY) is False


@pytest.mark.parametrize(
    "sent",
    [
        *({"timestamp": value} for value in ("", "abc", "-1", "1.5", "²", "9" * 5000, "1e9", "\ud800")),
        *({"signature": value} for value in ("", "v1", "v1,", "v1,ü", "v1,\ud800", "v1,\x00", " ", "v2,AAAA")),
        *({"id": value} for value in ("", "msg_2", "ü", "\ud800")),
        {"at": -400},
        {"at": 400},
    ],
)
def test_what_a_stranger_sends_is_not(is_ours: IsOurs, sent: dict[str, Any]) -> None:
    """Headers that are malformed, stale or not ours give False, never an exception, which would be a 500."""
    assert is_ours(SECRET, signed(**sent), BODY) is False


def test_another_body_or_secret_is_not_ours(is_ours: IsOurs) -> None:
    """The signature is of these bytes under this secret."""
    assert is_ours(SECRET, signed(), BODY + b" ") is False
    assert is_ours(new_secret(), signed(), BODY) is False
