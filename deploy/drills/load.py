"""Patients who book and read while something happens, and what they were answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from deploy.drills.house import DrillFailed, House
from deploy.local.settings import DEFAULT_EMAIL, DEFAULT_PASSWORD

API = "/api/v1"
SLOT = 5
ALL_DAY = [{"weekday": day, "start": "00:00", "end": "24:00"} for day in range(7)]


@dataclass
class Load:
    """`booked` has the id of every booking that was answered with 201."""

    answers: Counter[str] = field(default_factory=Counter)
    booked: list[int] = field(default_factory=list)
    last_good: float = 0.0
    longest_gap: float = 0.0

    def note(self, status: int | str) -> None:
        now = time.monotonic()
        self.answers[str(status)] += 1
        if isinstance(status, int) and status < 300:
            self.longest_gap = max(self.longest_gap, now - (self.last_good or now))
            self.last_good = now

    @property
    def bad(self) -> dict[str, int]:
        return {status: number for status, number in sorted(self.answers.items()) if not status.startswith("2")}

    def said(self) -> str:
        number = sum(self.answers.values())
        return f"{number} requests, {len(self.booked)} bookings, not 2xx: {self.bad or 'none'}"


async def token(client: httpx.AsyncClient) -> dict[str, str]:
    form = {"grant_type": "password", "username": DEFAULT_EMAIL, "password": DEFAULT_PASSWORD}
    answer = await client.post(f"{API}/auth/token", data=form)
    if answer.status_code != 200:
        raise DrillFailed(f"signing in: {answer.status_code} {answer.text}")
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@asynccontextmanager
async def under_load(house: House, *, clients: int = 6, pause: float = 0.02) -> AsyncIterator[Load]:
    """While the block runs, each client books a slot and reads itself, again and again."""
    load, stop = Load(), asyncio.Event()
    async with httpx.AsyncClient(base_url=house.url, timeout=15) as client:
        headers = await token(client)
        patient = (await client.get(f"{API}/users/me", headers=headers)).json()["id"]
        doctors = [await _doctor(client, headers) for _ in range(clients)]
        visitors = [_Visitor(client, headers, load, stop, doctor_id=one, patient_id=patient) for one in doctors]
        tasks = [asyncio.create_task(one.visit(pause)) for one in visitors]
        try:
            yield load
        finally:
            stop.set()
            await asyncio.gather(*tasks)


async def _doctor(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    body = {"full_name": "Dr. Drill", "specialty": "Drills", "slot_minutes": SLOT}
    made = await client.post(f"{API}/doctors", json=body, headers=headers)
    doctor_id = int(made.json()["id"])
    await client.put(f"{API}/doctors/{doctor_id}/hours", json=ALL_DAY, headers=headers)
    return doctor_id


@dataclass
class _Visitor:
    client: httpx.AsyncClient
    headers: dict[str, str]
    load: Load
    stop: asyncio.Event
    doctor_id: int
    patient_id: int

    async def visit(self, pause: float) -> None:
        start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=7)
        while not self.stop.is_set():
            start += timedelta(minutes=SLOT)
            booking = {"doctor_id": self.doctor_id, "patient_id": self.patient_id, "starts_at": start.isoformat()}
            await self._ask("POST", "/appointments", booking)
            await self._ask("GET", "/users/me", None)
            await asyncio.sleep(pause)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> None:
        try:
            answer = await self.client.request(method, API + path, json=body, headers=self.headers)
        except httpx.TransportError as error:
            self.load.note(type(error).__name__)
            return
        self.load.note(answer.status_code)
        if answer.status_code == 201:
            self.load.booked.append(answer.json()["id"])
