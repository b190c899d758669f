"""Entity tags: what a client that read an older version is told."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app.services.container import Container
from tests.support import API, World, assert_problem, clinic_time, next_weekday


@dataclass(frozen=True)
class Target:
    """One object, and a change of it."""

    path: str
    method: str
    json: Any
    headers: dict[str, str]
    read: str

    async def change(self, client: httpx.AsyncClient, **headers: str) -> httpx.Response:
        kept = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.request(self.method, API + self.path, json=self.json, headers=self.headers | kept)


KINDS = ["me", "user", "doctor", "hours", "appointment", "cancel", "complete", "delete doctor", "delete user"]


async def target(kind: str, client: httpx.AsyncClient, world: World, container: Container) -> Target:
    admin, patient = await world.admin(), await world.person()
    doctor_id = await world.doctor()
    doctor, user = f"/doctors/{doctor_id}", f"/users/{patient.id}"
    plain = {
        "me": Target("/users/me", "PATCH", {"full_name": "New"}, patient.headers, "/users/me"),
        "user": Target(user, "PATCH", {"full_name": "New"}, admin.headers, user),
        "doctor": Target(doctor, "PATCH", {"full_name": "New"}, admin.headers, doctor),
        "hours": Target(f"{doctor}/hours", "PUT", [], admin.headers, doctor),
        "delete doctor": Target(doctor, "DELETE", None, admin.headers, doctor),
        "delete user": Target(user, "DELETE", None, admin.headers, user),
    }
    if kind in plain:
        return plain[kind]
    json = {"doctor_id": doctor_id, "starts_at": clinic_time(container, next_weekday(), "09:00")}
    booked = await client.post(f"{API}/appointments", json=json, headers=patient.headers)
    path = f"/appointments/{booked.json()['id']}"
    if kind == "appointment":
        later = {"starts_at": clinic_time(container, next_weekday(), "09:30")}
        return Target(path, "PATCH", later, patient.headers, path)
    return Target(f"{path}/{kind}", "POST", None, admin.headers, path)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stale_tag_changes_nothing(
    client: httpx.AsyncClient, world: World, container: Container, kind: str
) -> None:
    """412 for another tag, a weak one, a list without the right one and what is no tag; the object stays as it was."""
    one = await target(kind, client, world, container)
    before = await client.get(API + one.read, headers=one.headers)
    tag = before.headers["etag"]
    assert tag.startswith('"')
    assert tag.endswith('"')
    for stale in ('"0"', f"W/{tag}", '"a", "b"', tag.strip('"'), '""', ""):
        assert_problem(await one.change(client, If_Match=stale), 412, "precondition_failed")
    after = await client.get(API + one.read, headers=one.headers)
    assert (after.json(), after.headers["etag"]) == (before.json(), tag)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["{}", '"0", {}', "*", ' W/"x" , {} '])
async def test_the_present_tag_lets_the_change_pass(
    client: httpx.AsyncClient, world: World, container: Container, kind: str, form: str
) -> None:
    """The tag itself, a list that holds it and `*` pass; the answer has the new tag, and the old one is stale then."""
    one = await target(kind, client, world, container)
    tag = (await client.get(API + one.read, headers=one.headers)).headers["etag"]
    changed = await one.change(client, If_Match=form.format(tag))
    assert changed.status_code in (200, 204), changed.text
    if changed.status_code == 204:
        assert_problem(await one.change(client, If_Match="*"), 404, "not_found")
        return
    assert changed.headers["etag"] != tag
    read = await client.get(API + one.read, headers=one.headers)
    assert (read.headers["etag"], read.json()) == (changed.headers["etag"], changed.json())
    assert_problem(await one.change(client, If_Match=tag), 412, "precondition_failed")


@pytest.mark.parametrize("kind", ["me", "user", "doctor", "appointment"])
async def test_what_the_client_has_is_not_sent_again(
    client: httpx.AsyncClient, world: World, container: Container, kind: str
) -> None:
    """304 without a body and with the tag for the tag, its weak form, a list that holds it and `*`; else the object."""
    one = await target(kind, client, world, container)
    tag = (await client.get(API + one.read, headers=one.headers)).headers["etag"]
    for known in (tag, f"W/{tag}", f'"a", W/"b",{tag}', "*"):
        response = await client.get(API + one.read, headers=one.headers | {"If-None-Match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag), known
    for other in ('"a"', tag.strip('"'), ""):
        response = await client.get(API + one.read, headers=one.headers | {"If-None-Match": other})
        assert response.status_code == 200, other
    await one.change(client)
    changed = await client.get(API + one.read, headers=one.headers | {"If-None-Match": tag})
    assert changed.status_code == 200


async def test_a_change_of_nothing_keeps_the_tag(client: httpx.AsyncClient, world: World) -> None:
    """A PATCH that sets what is there already is no new version."""
    admin, doctor_id = await world.admin(), await world.doctor(full_name="Same")
    for json in ({}, {"full_name": "Same"}):
        response = await client.patch(f"{API}/doctors/{doctor_id}", json=json, headers=admin.headers)
        assert (response.status_code, response.headers["etag"]) == (200, '"1"')


async def test_of_two_editors_the_second_is_told(client: httpx.AsyncClient, world: World) -> None:
    """Two clients that read the same version: the first change passes, the second is 412 and the first stays."""
    admin, doctor_id = await world.admin(), await world.doctor()
    tag = (await client.get(f"{API}/doctors/{doctor_id}")).headers["etag"]
    statuses = []
    for name in ("First", "Second"):
        headers = admin.headers | {"If-Match": tag}
        response = await client.patch(f"{API}/doctors/{doctor_id}", json={"full_name": name}, headers=headers)
        statuses.append(response.status_code)
    assert statuses == [200, 412]
    assert (await client.get(f"{API}/doctors/{doctor_id}")).json()["full_name"] == "First"


async def test_an_absence_honours_its_tag_too(client: httpx.AsyncClient, world: World) -> None:
    """Time off comes with a tag, and its deletion is refused with another one."""
    admin, doctor_id = await world.admin(), await world.doctor()
    json = {"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2027-01-02T00:00:00Z"}
    added = await client.post(f"{API}/doctors/{doctor_id}/time-off", json=json, headers=admin.headers)
    where, tag = added.headers["location"], added.headers["etag"]
    assert_problem(await client.delete(where, headers=admin.headers | {"If-Match": '"0"'}), 412, "precondition_failed")
    assert (await client.delete(where, headers=admin.headers | {"If-Match": tag})).status_code == 204
