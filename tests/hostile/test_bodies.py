"""Bodies that no client should send: each is refused with a problem, at once, and leaves nothing behind."""

import json
from typing import Any

import pytest

from tests.hostile.process import ApiProcess
from tests.support import API, World

DOCTORS = f"{API}/doctors"
DEEP = 10_000
NOT_JSON = {
    "nothing": b"",
    "cut off": b"{",
    "a tail": b'{"full_name": "a", "specialty": "b"} x',
    "a word": b"hello",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "invalid UTF-8": b'{"full_name": "\xff\xfe", "specialty": "b"}',
    "a raw NUL": b'{"full_name": "a\0b", "specialty": "b"}',
    "10,000 arrays deep": b"[" * DEEP + b"]" * DEEP,
    "10,000 objects deep": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep inside a field": b'{"specialty": "b", "full_name": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "5,000 digits": b'{"full_name": "a", "specialty": "b", "slot_minutes": ' + b"9" * 5000 + b"}",
}
NOT_A_DOCTOR = {
    "an array": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "an unknown field": b'{"full_name": "a", "specialty": "b", "evil": 1}',
    "an unknown field, 900 deep": b'{"full_name": "a", "specialty": "b", "evil": ' + b"[" * 900 + b"]" * 900 + b"}",
    "10,000 unknown fields": json.dumps({f"field{number}": number for number in range(10_000)}).encode(),
    "a NUL": b'{"full_name": "a\\u0000b", "specialty": "b"}',
    "a NUL in a name": b'{"full_name": "a", "specialty": "b", "\\u0000": 1}',
    "a lone surrogate": b'{"full_name": "\\ud800", "specialty": "b"}',
    "a lone surrogate in a name": b'{"full_name": "a", "specialty": "b", "\\ud800": 1}',
    "NaN": b'{"full_name": "a", "specialty": "b", "slot_minutes": NaN}',
    "infinity": b'{"full_name": "a", "specialty": "b", "slot_minutes": -Infinity}',
    "1e400": b'{"full_name": "a", "specialty": "b", "slot_minutes": 1e400}',
    "10^30": b'{"full_name": "a", "specialty": "b", "slot_minutes": 1000000000000000000000000000000}',
    "4,000 digits": b'{"full_name": "a", "specialty": "b", "slot_minutes": ' + b"9" * 4000 + b"}",
    "a number as text": b'{"full_name": "a", "specialty": "b", "slot_minutes": "30"}',
    "true as a number": b'{"full_name": "a", "specialty": "b", "slot_minutes": true}',
    "a number as truth": b'{"full_name": "a", "specialty": "b", "is_active": 1}',
    "blanks for a name": b'{"full_name": "  ", "specialty": "b"}',
    "too long a name": b'{"full_name": "' + b"a" * 201 + b'", "specialty": "b"}',
}
NOT_JSON_TYPES = ["text/plain", "application/xml", "multipart/form-data", "application/jsonx", "garbage", "", ";;;="]
TIMES = [
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "10000-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-01-01T00:00:00+99:99",
    "２０２６-12-01T09:00:00Z",
    "1e30",
    "",
    10**30,
    1e30,
    -1,
    0,
    True,
    None,
]


async def test_what_is_no_json_is_refused(api: ApiProcess, world: World) -> None:
    """What is not JSON in UTF-8, or nests or counts without measure, is a 4xx problem, and no doctor is made."""
    admin = await world.admin()
    for name, body in NOT_JSON.items():
        answer = await api.ask("POST", DOCTORS, admin.headers, body)
        assert (answer.status, answer.code) in {(400, "bad_request"), (422, "validation_error")}, name
    assert await world.scalar("SELECT count(*) FROM doctors") == 0


async def test_json_that_is_no_doctor_is_refused(api: ApiProcess, world: World) -> None:
    """Unknown fields, wrong types, NULs, surrogates and numbers out of range are 422, and no doctor is made."""
    admin = await world.admin()
    for name, body in NOT_A_DOCTOR.items():
        answer = await api.ask("POST", DOCTORS, admin.headers, body)
        assert (answer.status, answer.code) == (422, "validation_error"), (name, answer.body)
    assert await world.scalar("SELECT count(*) FROM doctors") == 0


async def test_a_number_is_what_it_means(api: ApiProcess, world: World) -> None:
    """30.0 is the number 30, as JSON says, and is taken for it."""
    admin = await world.admin()
    body = b'{"full_name": "a", "specialty": "b", "slot_minutes": 30.0}'
    answer = await api.ask("POST", DOCTORS, admin.headers, body)
    assert (answer.status, answer.json()["slot_minutes"]) == (201, 30)


async def test_a_wrong_content_type_is_refused(api: ApiProcess, world: World) -> None:
    """A good document under another media type is not taken for JSON: a form of another site can't post it."""
    admin = await world.admin()
    body = b'{"full_name": "a", "specialty": "b"}'
    for kind in NOT_JSON_TYPES:
        answer = await api.ask("POST", DOCTORS, admin.headers | {"Content-Type": kind}, body)
        assert (answer.status, answer.code) == (422, "validation_error"), kind
    assert await world.scalar("SELECT count(*) FROM doctors") == 0


@pytest.mark.parametrize("path", ["appointments", "doctors/1/time-off"])
async def test_times_out_of_this_world_are_refused(api: ApiProcess, world: World, path: str) -> None:
    """Years 1 and 9999, days that do not exist and numbers in place of times are 422 in a body that holds a time."""
    admin = await world.admin()
    await world.doctor()
    for time in TIMES:
        body: dict[str, Any] = {"doctor_id": 1, "starts_at": time}
        if path.endswith("time-off"):
            body = {"starts_at": time, "ends_at": time}
        answer = await api.ask("POST", f"{API}/{path}", admin.headers, body)
        assert (answer.status, answer.code) == (422, "validation_error"), (time, answer.body)


async def test_forms_with_rubbish_are_refused(api: ApiProcess, world: World) -> None:
    """The token form takes no NUL, no 5,000 fields, not more than 64 KiB and no file, and what is no UTF-8 is just a
    wrong password."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    file = b'--x\r\nContent-Disposition: form-data; name="grant_type"; filename="f"\r\n\r\npassword\r\n--x--\r\n'
    sign_in = b"grant_type=password&username=%s&password=%s"
    cases = [
        (kind, sign_in % (b"%00", b"%00"), {"validation_error"}),
        (kind, sign_in % (b"%ff", b"%ff"), {"invalid_grant"}),
        (kind, sign_in % (b"%ED%A0%80", b"%ED%A0%80"), {"invalid_grant"}),
        (kind, sign_in % (b"a" * 5000, b"b"), {"validation_error"}),
        (kind, b"&".join(b"f%d=1" % number for number in range(5_000)), {"bad_request"}),
        (kind, b"&".join(b"f%d=1" % number for number in range(90_000)), {"body_too_large"}),
        (kind, b"grant_type=refresh_token&refresh_token=%ff%00", {"invalid_grant"}),
        (kind, b"grant_type=authorization_code", {"unsupported_grant_type"}),
        (multipart, file, {"validation_error"}),
        (multipart, b"--x\r\n", {"bad_request", "invalid_request"}),
        ({}, b'{"grant_type": "password"}', {"invalid_request"}),
    ]
    for headers, body, codes in cases:
        answer = await api.ask("POST", f"{API}/auth/token", headers, body)
        assert 400 <= answer.status < 500, body[:80]
        assert answer.code in codes, (body[:80], answer.body)


async def test_an_account_without_a_password_fits_none(api: ApiProcess, world: World) -> None:
    """Where no hash is stored but a mark, every password is a wrong one."""
    person = await world.person()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"grant_type=password&username={person.email}&password=!".encode()
    assert (await api.ask("POST", f"{API}/auth/token", kind, body)).code == "invalid_grant"
    change = {"current_password": "!", "new_password": "long enough"}
    answer = await api.ask("POST", f"{API}/users/me/password", person.headers, change)
    assert (answer.status, answer.code) == (422, "validation_error")


async def test_rubbish_in_an_account_is_refused(api: ApiProcess, world: World) -> None:
    """Registering with addresses and passwords that are none is 422; a NUL in a password is just a character."""
    good = {"email": "a@example.com", "password": "long enough", "full_name": "A"}
    wrong = [
        {"email": "a\0@example.com"},
        {"email": "a" * 300 + "@example.com"},
        {"email": "a@ex\ud800ample.com"},
        {"email": "a@b@c"},
        {"password": "\ud800" * 9},
        {"password": "x" * 257},
        {"role": "superadmin"},
    ]
    for fields in wrong:
        answer = await api.ask("POST", f"{API}/auth/register", body=good | fields)
        assert (answer.status, answer.code) == (422, "validation_error"), fields
    answer = await api.ask("POST", f"{API}/auth/register", body=good | {"password": "nul \0 inside"})
    assert answer.status == 202
