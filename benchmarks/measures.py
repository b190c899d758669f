"""What is measured, on which contenders, and how long."""

import http.client
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from benchmarks import webhooks
from benchmarks.servers import BenchmarkError, Generator, Group, Server
from benchmarks.stage import APPOINTMENTS, CLIENTS, HOST, Account, Stage
from benchmarks.stats import Sample, merged, middle

PAGE = 1000
LATER = f"page {PAGE}"
WARMUP = 0.3
PAUSE = 0.01  # of the steady readers: they ask for a quarter of what the service can do
STALL_CLIENTS, LOGIN_CLIENTS, PAGE_CLIENTS = 8, 4, 4
BOOKINGS_PER_SECOND = 2500  # more slots than anybody can book
API = "/api/v1"


@dataclass(frozen=True, slots=True)
class Windows:
    """Seconds that each measurement lasts; the short ones are taken in `turns` by the contenders."""

    rounds: int
    turns: int
    short: float
    login: float
    alone: float
    beside: float


FULL = Windows(rounds=3, turns=3, short=1, login=4, alone=3, beside=5)
QUICK = Windows(rounds=1, turns=1, short=1.5, login=3, alone=2, beside=3)


@dataclass
class Contender:
    """A server, where its paths begin, and who may ask it."""

    server: Server
    base: str
    token: Callable[[Account], str]

    def request(self, method: str, path: str, account: Account | None, *, body: str = "", kind: str = "") -> str:
        head = [f"{method} {self.base}{path} HTTP/1.1", f"Host: {HOST}", "Accept: */*"]
        if account is not None:
            head.append(f"Authorization: Bearer {self.token(account)}")
        if body:
            head += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        return "\r\n".join(head) + "\r\n\r\n" + body


def bookings(contender: Contender, stage: Stage, amount: int) -> Iterator[str]:
    """Requests that each book a slot of its own."""
    patients = stage.accounts[1:]
    heads = [contender.request("POST", "/appointments", one, body="?", kind="application/json") for one in patients]
    for number, (doctor_id, starts_at) in enumerate(stage.slots(amount)):
        body = json.dumps({"doctor_id": doctor_id, "starts_at": starts_at})
        head = heads[number % len(heads)].removesuffix("\r\n\r\n?")
        yield head.replace("Content-Length: 1", f"Content-Length: {len(body)}") + "\r\n\r\n" + body


@dataclass
class Results:
    """Samples by measure and contender, a sample per round, and what is measured once."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=lambda: defaultdict(list))
    start_live: list[float] = field(default_factory=list)
    start_me: list[float] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    core_shares: list[float] = field(default_factory=list)
    burst_seconds: float = 0
    burst_lost: int = 0

    def of(self, measure: str, contender: str, figure: Callable[[Sample], float]) -> float:
        return middle(self.samples[measure, contender], figure)

    def rate(self, measure: str, contender: str) -> float:
        return self.of(measure, contender, lambda sample: sample.rate)

    def slowest(self, contender: str, *measures: str) -> float:
        return max(sample.slowest for measure in measures for sample in self.samples[measure, contender])


class Run:
    """One benchmark: three contenders that are all up, loaded one at a time, in turns."""

    def __init__(self, stage: Stage, generator: Generator, windows: Windows, say: Callable[[str], None]) -> None:
        self.stage, self.generator, self.windows, self.say = stage, generator, windows, say
        self.results = Results()
        self.contenders: dict[str, Contender] = {}
        self._later_cursor = ""

    def start(self) -> None:
        for attempt in range(self.windows.rounds):
            server = self.stage.start_service()
            me = {"Host": HOST, "Authorization": f"Bearer {self.stage.service_token(self.stage.accounts[0])}"}
            try:
                self.results.start_live.append(server.wait_for("/health/live", {"Host": HOST}))
                self.results.start_me.append(server.wait_for(f"{API}/users/me", me))
            finally:
                if attempt < self.windows.rounds - 1:
                    server.stop()
            self.contenders["F"] = Contender(server, API, self.stage.service_token)
        for name, module in (("T", "textbook"), ("A", "asyncpg_app")):
            self.contenders[name] = Contender(self.stage.start_floor(name, module), "", self.stage.floor_token)
            me = {"Authorization": f"Bearer {self.stage.floor_token(self.stage.accounts[0])}"}
            self.contenders[name].server.wait_for("/users/me", me)
        self.contenders["W"] = Contender(self.stage.start_floor("W", "webhooks"), "", self.stage.floor_token)
        self.contenders["W"].server.wait_for("/", {})
        self._later_cursor = self._follow_cursors()

    def stop(self) -> None:
        for contender in self.contenders.values():
            contender.server.stop()

    def ceiling(self) -> None:
        """How much the generator can drive."""
        hello = self.stage.start_floor("hello", "hello")
        try:
            hello.wait_for("/", {})
            group = Group("hello", CLIENTS, ["GET / HTTP/1.1\r\n\r\n"])
            self.results.samples["hello", "hello"].append(self._measure(hello, group, self.windows.short))
        finally:
            hello.stop()

    def rounds(self) -> None:
        for number in range(1, self.windows.rounds + 1):
            self.say(f"round {number} of {self.windows.rounds}")
            # Who goes first changes, so that drift of the machine favours nobody.
            order = ("F", "T", "A") if number % 2 else ("A", "T", "F")
            pair = tuple(name for name in order if name != "A")
            self._in_turns([("me", name, partial(self._group, name, CLIENTS, "/users/me")) for name in order])
            pages = [
                ("page 1", "F", partial(self._page, "page 1", "")),
                (LATER, "F", partial(self._page, LATER, self._later_cursor)),
            ]
            self._in_turns(pages if number % 2 else pages[::-1])
            self._in_turns([("list", name, partial(self._list, name)) for name in pair])
            self._in_turns([("book", name, partial(self._book, name)) for name in pair])
            self._in_turns(
                [
                    ("webhook", name, partial(self._webhooks, name))
                    for name in (("F", "W") if number % 2 else ("W", "F"))
                ]
            )
            for name in pair:
                self._load("login", name, self._logins(name), self.windows.login)
            for name in pair:
                self._stall(name, PAUSE, "steady me")
                self._stall(name, 0, "me")
        self.results.memory = self.contenders["F"].server.memory()

    def _in_turns(self, measures: Sequence[tuple[str, str, Callable[[], Group]]]) -> None:
        """What is compared is measured within a second of each other, several times over."""
        taken: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for _ in range(self.windows.turns):
            for measure, name, group in measures:
                taken[measure, name].append(self._measure(self.contenders[name].server, group(), self.windows.short))
        for key, samples in taken.items():
            self.results.samples[key].append(merged(samples))

    def _load(self, measure: str, name: str, group: Group, seconds: float) -> None:
        sample = self._measure(self.contenders[name].server, group, seconds)
        self.results.samples[measure, name].append(sample)

    def _measure(self, server: Server, group: Group, seconds: float) -> Sample:
        began, cpu = time.perf_counter(), server.cpu_seconds()
        sample = self.generator.run(server, group, seconds=seconds, warmup=WARMUP)[group.name]
        used = server.cpu_seconds()
        if group.clients == CLIENTS and cpu is not None and used is not None:
            self.results.core_shares.append((used - cpu) / (time.perf_counter() - began))
        return sample

    def _group(self, name: str, clients: int, path: str) -> Group:
        contender = self.contenders[name]
        return Group("me", clients, [contender.request("GET", path, one) for one in self.stage.accounts])

    def _list(self, name: str) -> Group:
        request = self.contenders[name].request("GET", "/appointments?limit=20", self.stage.accounts[0])
        return Group("list", CLIENTS, [request])

    def _page(self, measure: str, cursor: str) -> Group:
        path = f"/appointments?limit=20{cursor and '&cursor='}{cursor}"
        return Group(measure, PAGE_CLIENTS, [self.contenders["F"].request("GET", path, self.stage.accounts[0])])

    def _book(self, name: str) -> Group:
        amount = int((self.windows.short + WARMUP) * BOOKINGS_PER_SECOND)
        return Group("book", CLIENTS, list(bookings(self.contenders[name], self.stage, amount)), expect=201, once=True)

    def _webhooks(self, name: str) -> Group:
        amount = int((self.windows.short + WARMUP) * webhooks.PER_SECOND)
        requests = list(webhooks.signed(self.contenders[name].base, HOST, amount))
        return Group("webhook", CLIENTS, requests, expect=202, once=True)

    def burst(self) -> None:
        """20,000 webhooks as fast as they are taken, and how many of them are in the table afterwards."""
        requests = list(webhooks.signed(API, HOST, webhooks.BURST))
        before, group = self.stage.stored_webhooks(), Group("burst", CLIENTS, requests, expect=202, once=True)
        began = time.perf_counter()
        try:
            self.generator.run(self.contenders["F"].server, group, seconds=600, warmup=0)
        except BenchmarkError as error:
            # What was refused or never sent is not in the table: it counts as lost, and the run has its verdict.
            self.say(str(error))
        self.results.burst_seconds = time.perf_counter() - began
        self.results.burst_lost = webhooks.BURST - (self.stage.stored_webhooks() - before)

    def _logins(self, name: str) -> Group:
        contender, kind = self.contenders[name], "application/x-www-form-urlencoded"
        people = self.stage.accounts[:LOGIN_CLIENTS]
        requests = [contender.request("POST", "/auth/token", None, body=one.form, kind=kind) for one in people]
        return Group("login", LOGIN_CLIENTS, requests)

    def _stall(self, name: str, pause: float, readers: str) -> None:
        """The same readers alone, and beside clients that log in without pause."""
        server = self.contenders[name].server
        group = replace(self._group(name, STALL_CLIENTS, "/users/me"), pause=pause)
        alone = self.generator.run(server, group, seconds=self.windows.alone, warmup=WARMUP)
        both = self.generator.run(server, group, self._logins(name), seconds=self.windows.beside, warmup=1)
        self.results.samples[f"{readers} alone", name].append(alone["me"])
        self.results.samples[f"{readers} beside logins", name].append(both["me"])
        self.results.samples[f"login beside {readers}", name].append(both["login"])

    def _follow_cursors(self) -> str:
        """The cursor of page 1,000, found as a client finds it."""
        server, account = self.contenders["F"].server, self.stage.accounts[0]
        headers = {"Host": HOST, "Authorization": f"Bearer {self.stage.service_token(account)}"}
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        cursor = ""
        for _ in range(PAGE - 1):
            connection.request("GET", f"{API}/appointments?limit=20{cursor and '&cursor=' + cursor}", headers=headers)
            answer = connection.getresponse()
            cursor = json.loads(answer.read())["next_cursor"]
        connection.close()
        assert cursor, f"{APPOINTMENTS} rows have no page {PAGE}"
        return cursor
