"""Known secrets in every place where the service meets one, and none of them in what it says to anybody else."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from pydantic import BaseModel, SecretStr

from app.config import Settings
from app.services.container import Container
from tests.hostile.process import Answer, ApiProcess
from tests.ports import free_port
from tests.processes.collector import Collector
from tests.processes.process import Process
from tests.support import API, PASSWORD, World, eventually
from tests.webhooks import body, payment

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# Where the engines are; the passwords in them are looked for, too.
ADDRESSES = frozenset({"DATABASE_URL", "DATABASE_DIRECT_URL", "DATABASE_REPLICA_URL", "REDIS_URL", "JOBS_BROKER_URL"})


def seed(name: str) -> str:
    """A secret that reads like no word and stays itself in JSON, URLs, base64 settings and logs."""
    return f"Zq7{name.title().replace('_', '')}9xSeed0Kw"


def secret_settings() -> Iterator[str]:
    """The variables of every setting that holds a secret."""
    for concern, of in Settings.model_fields.items():
        kind = of.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                if "SecretStr" in str(field.annotation):
                    yield f"{concern}_{name}".upper()


def seeded(name: str) -> str:
    """A value of the form that the setting demands."""
    if name == "PAYMENTS_WEBHOOK_SECRETS":
        return "whsec_" + seed(name).ljust(44, "A")
    if name == "BACKUP_KEYS":
        return seed(name).ljust(32, "A")
    return seed(name)


class Seeds:
    """What must not be found, by what it is."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def add(self, name: str, secret: str | None = None) -> str:
        self.secrets[name] = secret or seed(name)
        return self.secrets[name]

    def found_in(self, text: str | bytes) -> set[str]:
        text = text.decode(errors="replace") if isinstance(text, bytes) else text
        return {
            name
            for name, secret in self.secrets.items()
            if secret in text or b64encode(secret.encode()).decode().rstrip("=")[:-2] in text
        }


class Spans(Collector):
    """A collector that also keeps the bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = b""

    def take(self, body: bytes) -> None:
        self.raw += body
        super().take(body)


@asynccontextmanager
async def talkative_partner() -> AsyncIterator[str]:
    """A partner that refuses every call and says back all that it was sent, keys included."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        told = json.dumps({"error": "refused", "message": head.decode("latin-1"), "code": "refused"}).encode()
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(told), told))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Service:
    """API and worker with a seed in every setting, and everything that they say."""

    def __init__(self, api: ApiProcess, worker: Process, spans: Spans, seeds: Seeds) -> None:
        self.api, self.worker, self.spans, self.seeds = api, worker, spans, seeds
        self.refusals: list[Answer] = []

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        refused: bool = True,
    ) -> Answer:
        answer = await self.api.ask(method, path, headers, body)
        if refused:
            assert answer.status >= 400, (path, answer.body)
            self.refusals.append(answer)
        else:
            assert answer.status < 300, (path, answer.body)
        return answer

    async def said(self) -> dict[str, str | bytes]:
        """All that the service has told others than the one who asked for a secret of his own."""
        return {
            "log of the API": self.api.log.read_text(),
            "log of the worker": self.worker.log(),
            "metrics of the API": (await self.api.get("/metrics")).body,
            "metrics of the worker": (await self.worker.get("/metrics")).text,
            "spans": self.spans.raw,
            "refusals": b"\n".join(answer.body + str(answer.headers).encode() for answer in self.refusals),
        }


@pytest.fixture
async def service(settings: Settings, container: Container, tmp_path: Path) -> AsyncIterator[Service]:
    seeds, spans = Seeds(), Spans()
    names = [name for name in secret_settings() if name not in ADDRESSES]
    assert len(names) > 10
    environment = {name: seeds.add(name, seeded(name)) for name in names}
    for address in (settings.database.url, settings.redis.url):
        assert isinstance(address, SecretStr)
        if password := urlsplit(address.get_secret_value()).password:
            seeds.add(f"password of {urlsplit(address.get_secret_value()).scheme}", password)
    async with talkative_partner() as partner:
        environment |= {
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "DEBUG",
            "PAYMENTS_URL": partner,
            "MARKETPLACE_URL": partner,
            "MAIL_BACKEND": "smtp",
            "MAIL_HOST": "127.0.0.1",
            "MAIL_PORT": str(free_port()),
            "MAIL_USERNAME": "clinic",
            "TELEMETRY_SAMPLE_RATIO": "1",
            "TELEMETRY_ENDPOINT": spans.url,
            # The tokens of `world` are signed by the settings of the tests.
            "AUTH_SECRET_KEY": seeds.add("AUTH_SECRET_KEY", settings.auth.secret_key.get_secret_value()),
        }
        (tmp_path / "api").mkdir()
        (tmp_path / "worker").mkdir()
        api = ApiProcess(tmp_path / "api", environment)
        port = free_port()
        values = {**api._environment, **environment, "WORKER_METRICS_PORT": str(port)}
        with spans.running():
            worker = Process("worker", port, tmp_path / "worker", values)
            try:
                await api.start()
                await worker.ready()
                yield Service(api, worker, spans, seeds)
            finally:
                api.stop()
                worker.kill()


async def sign_in_and_out(service: Service, world: World) -> None:
    """Passwords, tokens and codes, right and wrong, in bodies, forms, headers, cookies and queries."""
    seeds, ask = service.seeds, service.ask
    person = await world.person(password=PASSWORD)
    given = urlencode({"grant_type": "password", "username": person.email, "password": PASSWORD}).encode()
    pair = (await ask("POST", f"{API}/auth/token", FORM, given, refused=False)).json()
    seeds.add("an access token", pair["access_token"].rpartition(".")[2])
    seeds.add("a refresh token", pair["refresh_token"])
    wrong = {"grant_type": "password", "username": person.email, "password": seeds.add("wrong password")}
    await ask("POST", f"{API}/auth/token", FORM, urlencode(wrong).encode())
    await ask("POST", f"{API}/auth/token", FORM, urlencode(wrong | {"otp": seeds.add("otp")}).encode())
    await ask("POST", f"{API}/auth/token", FORM, b"password=" + seeds.add("password alone").encode())
    spent = {"grant_type": "refresh_token", "refresh_token": seeds.add("spent refresh token")}
    await ask("POST", f"{API}/auth/token", FORM, urlencode(spent).encode())
    basic = b64encode(f"7:{seeds.add('client secret')}".encode()).decode()
    await ask("POST", f"{API}/auth/token", FORM | {"Authorization": f"Basic {basic}"}, b"grant_type=client_credentials")
    for path, sent in (
        ("/auth/verify-email", {"token": seeds.add("mailed token")}),
        ("/auth/password/reset", {"token": seeds.add("reset token"), "password": seeds.add("new password")}),
        ("/auth/register", {"email": "no address", "password": seeds.add("first password"), "full_name": "P"}),
        ("/auth/register", {"password": [seeds.add("password in a list")], "secret": seeds.add("unknown field")}),
    ):
        await ask("POST", f"{API}{path}", None, sent)
    broken = b'{"password": "' + seeds.add("broken json").encode()
    await ask("POST", f"{API}/auth/register", {"Content-Type": "application/json"}, broken)
    for headers in (
        {"Authorization": f"Bearer {seeds.add('bearer')}"},
        {"Authorization": f"Token {seeds.add('other scheme')}"},
        {"Cookie": f"frontdesk-refresh={seeds.add('cookie')}; session={seeds.add('other cookie')}"},
        {"X-Api-Key": seeds.add("api key"), "Proxy-Authorization": seeds.add("proxy")},
    ):
        await ask("GET", f"{API}/users/me", headers)
    for name in ("token", "access_token", "password", "api_key"):
        await ask("GET", f"{API}/doctors?{name}={seeds.add(f'query {name}')}")
        await ask("GET", f"{API}/nowhere?{name}={seeds.add(f'lost {name}')}")


async def meet_partners(service: Service, world: World) -> None:
    """Signatures of webhooks, keys in calls that fail, secrets that are made for others."""
    seeds, ask = service.seeds, service.ask
    for headers in (
        {"X-Hub-Signature-256": f"sha256={seeds.add('github signature')}", "X-Delivery-ID": "d-1"},
        {"webhook-id": "m-1", "webhook-timestamp": "1", "webhook-signature": f"v1,{seeds.add('standard signature')}"},
    ):
        provider = "marketplace" if "X-Delivery-ID" in headers else "payments"
        await ask("POST", f"{API}/webhooks/{provider}", headers, body())
    sent = body("payment.succeeded", payment_id="p-1", order_id=1, amount=1, currency="EUR")
    signed = payment("msg_1", seeds.secrets["PAYMENTS_WEBHOOK_SECRETS"], sent)
    await ask("POST", f"{API}/webhooks/payments", signed, sent, refused=False)
    admin, person = await world.admin(), await world.person()
    order = {"items": [{"product_id": await world.product(), "quantity": 1}]}
    made = (await ask("POST", f"{API}/orders", person.headers, order, refused=False)).json()
    await ask("POST", f"{API}/orders/{made['id']}/pay", person.headers, {})
    await ask("POST", f"{API}/products/sync", admin.headers, {}, refused=False)
    endpoint = {"url": "https://example.com/hook", "events": ["user.registered"]}
    hook = (await ask("POST", f"{API}/webhook-endpoints", admin.headers, endpoint, refused=False)).json()
    seeds.add("secret of an endpoint", hook["secret"])
    factor = (await ask("POST", f"{API}/auth/mfa/totp", person.headers, {}, refused=False)).json()
    seeds.add("secret of a second factor", factor["secret"])
    new = {"email": "new@example.com", "password": seeds.add("good new password"), "full_name": "New Patient"}
    await ask("POST", f"{API}/auth/register", None, new, refused=False)


async def fail_from_within(service: Service, world: World) -> None:
    """Exceptions that carry secrets: a job whose payload makes no sense."""
    secret = service.seeds.add("secret of a payload")
    await world.execute(
        "INSERT INTO jobs (name, queue, payload, max_attempts)"
        " VALUES ('mail.verification', 'io', jsonb_build_object('user_id', 'password=' || cast(:secret AS text)), 1)",
        secret=secret,
    )

    async def failed() -> bool:
        return bool(await world.scalar("SELECT count(*) FROM jobs WHERE status = 'failed'"))

    await eventually(failed, seconds=30)
    said = await world.rows("SELECT error FROM jobs WHERE error IS NOT NULL")
    assert service.seeds.found_in("\n".join(row.error for row in said)) == set()


async def test_no_secret_is_said_to_anybody(service: Service, world: World) -> None:
    """Not in a log line at DEBUG, a metric, a span or a refusal, whatever of it all goes wrong."""
    await sign_in_and_out(service, world)
    await meet_partners(service, world)
    await fail_from_within(service, world)

    async def worked() -> bool:
        seen = service.worker.log()
        return '"partner call"' in seen and '"attempt failed"' in seen and b"POST" in service.spans.raw

    await eventually(worked, seconds=30)
    said = await service.said()
    assert len(service.refusals) >= 25
    assert all(len(text) > 1000 for text in said.values()), {name: len(text) for name, text in said.items()}
    assert {name: service.seeds.found_in(text) for name, text in said.items()} == {name: set() for name in said}
