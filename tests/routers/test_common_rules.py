"""What every answer has: its request id, and one form of refusal."""

import gzip
from typing import Any

import httpx
import pytest

from tests.support import API, World, assert_problem


@pytest.mark.parametrize("given", ["a", "x" * 128, "from the caller: ~!{}"])
async def test_the_callers_request_id_comes_back(client: httpx.AsyncClient, given: str) -> None:
    """1 to 128 printable ASCII characters are taken over, in the header and in the problem."""
    response = await client.get(f"{API}/users/me", headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == given
    assert assert_problem(response, 401, "invalid_token")["request_id"] == given


@pytest.mark.parametrize("given", [b"", b"x" * 129, "ümlaut".encode(), b"tab\tinside"])
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, given: bytes) -> None:
    """What is too long or not printable ASCII gets a new id, another one each time."""
    answers = [await client.get(f"{API}/doctors", headers={b"X-Request-ID": given}) for _ in range(2)]
    ids = {answer.headers.get_list("x-request-id")[0] for answer in answers}
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(ids) == 2
    assert all(0 < len(one) <= 128 and one.isascii() and one.encode() != given for one in ids)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic cGF0OnBhdA==", "Bearer " + "a." * 9000, "Bearer ü.ü.ü"],
)
async def test_without_a_good_token_nobody_is_signed_in(client: httpx.AsyncClient, authorization: str | None) -> None:
    """No token and a token that is none: 401 invalid_token with the challenge of RFC 6750."""
    headers = {} if authorization is None else {b"Authorization": authorization.encode("latin-1")}
    response = await client.get(f"{API}/users/me", headers=headers)
    assert_problem(response, 401, "invalid_token")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/appointments"),
        ("GET", "/appointments"),
        ("PATCH", "/appointments/1"),
        ("POST", "/appointments/1/cancel"),
        ("POST", "/doctors"),
        ("PUT", "/doctors/1/hours"),
        ("POST", "/doctors/1/time-off"),
        ("GET", "/users"),
        ("PATCH", "/users/me"),
        ("DELETE", "/users/1"),
        ("GET", "/jobs/1"),
        ("GET", "/jobs/1/result"),
        ("POST", "/reports"),
        ("POST", "/products"),
        ("POST", "/orders"),
        ("GET", "/orders/1"),
        ("POST", "/orders/1/cancel"),
        ("POST", "/orders/1/pay"),
        ("POST", "/products/sync"),
        ("DELETE", "/products/1"),
    ],
)
async def test_what_is_not_for_anyone_asks_who_you_are(client: httpx.AsyncClient, method: str, path: str) -> None:
    """Each route that is not open to anyone answers 401 to a stranger, whatever else is wrong with the request."""
    response = await client.request(method, API + path, json={} if method != "GET" else None)
    assert_problem(response, 401, "invalid_token")


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("POST", "/doctors", {"full_name": "Dr. No", "specialty": "Islands"}),
        ("PATCH", "/doctors/1", {"full_name": "Dr. No"}),
        ("DELETE", "/doctors/1", None),
        ("PUT", "/doctors/1/hours", []),
        ("POST", "/doctors/1/time-off", {"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2027-01-02T00:00:00Z"}),
        ("DELETE", "/doctors/1/time-off/1", None),
        ("GET", "/users", None),
        ("GET", "/users/1", None),
        ("POST", "/users", {"email": "x@example.com", "password": "long enough", "full_name": "X"}),
        ("PATCH", "/users/1", {"full_name": "X"}),
        ("DELETE", "/users/1", None),
        ("POST", "/reports", {"kind": "utilisation", "from": "2026-01-01", "to": "2026-02-01", "format": "pdf"}),
    ],
)
async def test_staff_routes_refuse_clients(
    client: httpx.AsyncClient, world: World, method: str, path: str, json: Any
) -> None:
    """What the contract keeps to admins is 403 for a client, also where the object does not exist."""
    patient = await world.person()
    assert_problem(await client.request(method, API + path, json=json, headers=patient.headers), 403, "forbidden")


@pytest.mark.parametrize("path", ["/nowhere", f"{API}/nowhere", f"{API}/doctors/1/nowhere", f"{API}/doctors/77"])
async def test_what_is_not_there_is_a_problem_too(client: httpx.AsyncClient, path: str) -> None:
    """Unknown paths and unknown objects are 404 not_found in the same form."""
    assert_problem(await client.get(path), 404, "not_found")


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/doctors"), ("PUT", "/appointments/1"), ("GET", "/reports")])
async def test_a_method_that_a_path_lacks(client: httpx.AsyncClient, method: str, path: str) -> None:
    """A wrong method is 405 in the same form, with the methods that there are."""
    response = await client.request(method, API + path)
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"]


@pytest.mark.parametrize("value", ["0", "-1", "abc", "1.5", str(2**63), "9" * 400, "%00", "1e3"])
async def test_an_id_is_a_positive_integer(client: httpx.AsyncClient, value: str) -> None:
    """Anything else in its place is refused as invalid, never passed to the database."""
    assert_problem(await client.get(f"{API}/doctors/{value}"), 422, "validation_error")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'"text"', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"a=b", "application/x-www-form-urlencoded"),
        (b"{}", "text/plain"),
        (b"", "application/json"),
        (b'{"email": "\\ud800@example.com", "password": "long enough", "full_name": "X"}', "application/json"),
        (b'{"email": "x@example.com", "password": "long enough", "full_name": "X\\u0000"}', "application/json"),
        (b'{"email": "x@example.com", "password": "long\\ud800enough", "full_name": "X"}', "application/json"),
        (
            b'{"email": "x@example.com", "password": "long enough", "full_name": "X", "role": "admin"}',
            "application/json",
        ),
        (b'{"email": "x@example.com", "password": "long enough", "full_name": "X", "\\ud800": 1}', "application/json"),
    ],
)
async def test_a_body_that_can_not_be_read(client: httpx.AsyncClient, content: bytes, kind: str) -> None:
    """Malformed, of another type, with fields that nobody asked for: 422 with where and why, and nothing is done."""
    response = await client.post(f"{API}/auth/register", content=content, headers={"Content-Type": kind})
    faults = [str(fault) for fault in assert_problem(response, 422, "validation_error")["errors"]]
    assert len(faults) == len(set(faults)), "once each, however many dependencies read the body"


GOOD = b'{"email": "x@example.com", "password": "long enough", "full_name": "X"}'


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Type": "text/plain"}, "is text/plain: send JSON, with Content-Type: application/json"),
        ({}, "is of no type: send JSON, with Content-Type: application/json"),
    ],
)
async def test_json_that_is_not_called_so(client: httpx.AsyncClient, headers: dict[str, str], said: str) -> None:
    """Good JSON under another media type, or none, is 422 that says which header to send."""
    response = await client.post(f"{API}/auth/register", content=GOOD, headers=headers)
    body = assert_problem(response, 422, "validation_error")
    assert body["errors"] == [{"loc": ["body"], "msg": said, "type": "content_type"}]
    assert body["detail"] == f"body: {said}"


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
async def test_a_content_coding_is_named(client: httpx.AsyncClient, kind: str) -> None:
    """A compressed body is 415 that says so, and which coding is taken; the word for none is no coding."""
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    response = await client.post(f"{API}/auth/register", content=gzip.compress(GOOD), headers=headers)
    assert "Content-Encoding" in assert_problem(response, 415, "unsupported_media_type")["detail"]
    assert response.headers["accept-encoding"] == "identity"
    plain = {"Content-Type": "application/json", "Content-Encoding": "identity"}
    broken = await client.post(f"{API}/auth/register", content=GOOD[:-1], headers=plain)
    assert_problem(broken, 422, "validation_error")


async def test_broken_json_is_told_by_its_position(client: httpx.AsyncClient) -> None:
    """The place of the fault is the body; the character is in the words, for it is no field."""
    response = await client.post(
        f"{API}/auth/register", content=GOOD[:18], headers={"Content-Type": "application/json"}
    )
    (fault,) = assert_problem(response, 422, "validation_error")["errors"]
    assert (fault["loc"], fault["type"]) == (["body"], "json_invalid")
    assert fault["msg"].startswith("is not JSON: ")
    assert fault["msg"].endswith(" at character 10")


async def test_a_form_is_asked_for_where_one_is_needed(client: httpx.AsyncClient) -> None:
    """Who sends JSON to sign in is told to send a form."""
    response = await client.post(f"{API}/auth/token", json={"grant_type": "password", "username": "a", "password": "b"})
    body = assert_problem(response, 400, "invalid_request")
    assert "application/x-www-form-urlencoded" in body["detail"]


async def test_what_is_wrong_is_said_in_plain_words(client: httpx.AsyncClient, world: World) -> None:
    """The detail is the first fault, whoever found it, without the words of a library."""
    admin = await world.admin()
    asked = await client.get(f"{API}/appointments?starts_at=2027-01-04T09:00:00+02:00", headers=admin.headers)
    detail = assert_problem(asked, 422, "validation_error")["detail"]
    assert detail.startswith("query.starts_at: must be a date and time as of RFC 3339")
    assert detail.endswith("; in a query, + is written %2B")
    unknown = await client.post(f"{API}/auth/verify-email", json={"token": "made up"})
    body = assert_problem(unknown, 422, "validation_error")
    assert body["detail"] == f"body.token: {body['errors'][0]['msg']}"
