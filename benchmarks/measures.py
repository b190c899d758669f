"""What is measured, on which contenders, and how long."""

import http.client
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.servers import Generator, Group, Server
from benchmarks.stage import APPOINTMENTS, CLIENTS, HOST, Account, Stage
from benchmarks.stats import Sample, middle

PAGE = 1000
STALL_CLIENTS, LOGIN_CLIENTS, PAGE_CLIENTS = 8, 4, 4
BOOKINGS_PER_SECOND = 2500  # more slots than anybody can book
API = "/api/v1"


@dataclass(frozen=True, slots=True)
class Windows:
    """Seconds that each measurement lasts."""

    rounds: int
    short: float
    login: float
    stall: float


FULL = Windows(rounds=3, short=3, login=5, stall=6)
QUICK = Windows(rounds=1, short=1.5, login=3, stall=4)


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


@dataclass
class Results:
    """Samples by measure and contender, a sample per round, and what is measured once."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=lambda: defaultdict(list))
    start_live: list[float] = field(default_factory=list)
    start_me: list[float] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)

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
        self._later_cursor = self._follow_cursors()

    def stop(self) -> None:
        for contender in self.contenders.values():
            contender.server.stop()

    def ceiling(self) -> None:
        """How much the generator can drive."""
        hello = self.stage.start_floor("hello", "hello")
        try:
            hello.wait_for("/", {})
            self._load("hello", Contender(hello, "", lambda _: ""), Group("", CLIENTS, ["GET / HTTP/1.1\r\n\r\n"]))
        finally:
            hello.stop()

    def rounds(self) -> None:
        for number in range(1, self.windows.rounds + 1):
            self.say(f"round {number} of {self.windows.rounds}")
            # Who goes first changes, so that drift of the machine favours nobody.
            order = ("F", "T", "A") if number % 2 else ("A", "T", "F")
            for name in order:
                self._me(name)
            self._pages(reverse=number % 2 == 0)
            for measure in (self._list, self._book, self._login):
                for name in order:
                    if name != "A":
                        measure(name)
            self._stall("F")
            self._stall("T")
        self.results.memory = self.contenders["F"].server.memory()

    def _load(self, measure: str, contender: Contender, group: Group, seconds: float | None = None) -> None:
        samples = self.generator.run(contender.server, group, seconds=seconds or self.windows.short)
        self.results.samples[measure, contender.server.name].append(samples[group.name])

    def _group(self, name: str, clients: int, path: str) -> Group:
        contender = self.contenders[name]
        return Group("me", clients, [contender.request("GET", path, one) for one in self.stage.accounts])

    def _me(self, name: str) -> None:
        self._load("me", self.contenders[name], self._group(name, CLIENTS, "/users/me"))

    def _list(self, name: str) -> None:
        contender = self.contenders[name]
        request = contender.request("GET", "/appointments?limit=20", self.stage.accounts[0])
        self._load("list", contender, Group("list", CLIENTS, [request]))

    def _pages(self, *, reverse: bool) -> None:
        contender = self.contenders["F"]
        paths = [("page 1", ""), (f"page {PAGE}", f"&cursor={self._later_cursor}")]
        for measure, cursor in reversed(paths) if reverse else paths:
            request = contender.request("GET", f"/appointments?limit=20{cursor}", self.stage.accounts[0])
            self._load(measure, contender, Group(measure, PAGE_CLIENTS, [request]))

    def _book(self, name: str) -> None:
        contender = self.contenders[name]
        amount = int((self.windows.short + 1) * BOOKINGS_PER_SECOND)
        group = Group("book", CLIENTS, list(self._bookings(contender, amount)), expect=201, once=True)
        self._load("book", contender, group)

    def _bookings(self, contender: Contender, amount: int) -> Iterator[str]:
        patients = self.stage.accounts[1:]
        heads = [contender.request("POST", "/appointments", one, body="?", kind="application/json") for one in patients]
        for number, (doctor_id, starts_at) in enumerate(self.stage.slots(amount)):
            body = json.dumps({"doctor_id": doctor_id, "starts_at": starts_at})
            head = heads[number % len(heads)].removesuffix("\r\n\r\n?")
            yield head.replace("Content-Length: 1", f"Content-Length: {len(body)}") + "\r\n\r\n" + body

    def _logins(self, name: str) -> Group:
        contender, kind = self.contenders[name], "application/x-www-form-urlencoded"
        people = self.stage.accounts[:LOGIN_CLIENTS]
        requests = [contender.request("POST", "/auth/token", None, body=one.form, kind=kind) for one in people]
        return Group("login", LOGIN_CLIENTS, requests)

    def _login(self, name: str) -> None:
        self._load("login", self.contenders[name], self._logins(name), self.windows.login)

    def _stall(self, name: str) -> None:
        """The same readers alone, and beside clients that log in without pause."""
        readers, server = self._group(name, STALL_CLIENTS, "/users/me"), self.contenders[name].server
        alone = self.generator.run(server, readers, seconds=self.windows.short)
        both = self.generator.run(server, readers, self._logins(name), seconds=self.windows.stall, warmup=1)
        self.results.samples["me alone", name].append(alone["me"])
        self.results.samples["me beside logins", name].append(both["me"])
        self.results.samples["login beside me", name].append(both["login"])

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
