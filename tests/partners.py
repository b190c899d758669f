"""The sandbox as a real server in a thread of the test's process: partners for whoever needs some."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from app.config import MarketplaceSettings, PaymentsSettings, Settings
from app.sandbox.server import create_app

NOWHERE = "http://127.0.0.1:9/webhooks"


class Sandbox:
    """What a test may do to the partners, from the thread of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.payments_settings = PaymentsSettings(url=url)
        self.marketplace_settings = MarketplaceSettings(url=url)

    def fault(self, kind: str, **values: Any) -> None:
        """The next request meets it, unless `times`, `path` or `method` say otherwise."""
        self._call("POST", "/sandbox/faults", json={"kind": kind, **values})

    @property
    def payments(self) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self._call("GET", "/sandbox/payments")["items"])

    @property
    def webhooks(self) -> list[dict[str, Any]]:
        return list(self._call("GET", "/sandbox/webhooks")["items"])

    @property
    def requests(self) -> int:
        """How many requests the partners have had."""
        return int(self._call("GET", "/sandbox/faults")["requests"])

    def catalogue(self, **change: Any) -> int:
        """Change the marketplace's products; how many there are now."""
        return int(self._call("POST", "/sandbox/catalogue", json=change)["products"])

    def checkout(self, payment_id: str, action: str) -> None:
        """Click: `pay` or `decline`."""
        answer = httpx.post(f"{self.url}/checkout/{payment_id}", data={"action": action}, trust_env=False)
        assert answer.status_code == 303, answer.text

    def reset(self) -> None:
        self._call("DELETE", "/sandbox/faults")
        self._call("DELETE", "/sandbox/state")

    def _call(self, method: str, path: str, **content: Any) -> Any:
        answer = httpx.request(method, self.url + path, timeout=10, trust_env=False, **content)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


@contextmanager
def serving(app: Any, *, port: int = 0) -> Iterator[str]:
    """Any ASGI application on a real socket, in a thread of its own; its address."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server did not start in time"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listening.close()


@contextmanager
def running_sandbox(
    settings: Settings | None = None, *, webhook_url: str = NOWHERE, state: Path | None = None, port: int = 0
) -> Iterator[Sandbox]:
    """The sandbox with the settings' keys and secrets (the defaults of development)."""
    # Its settings need no database, so they are not loaded but made.
    chosen = settings or Settings.model_construct(payments=PaymentsSettings(), marketplace=MarketplaceSettings())
    app = create_app(chosen, state=state, webhook_url=webhook_url, first_wait=0.05)
    with serving(app, port=port) as url:
        yield Sandbox(url)
