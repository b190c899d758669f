"""Paths, queries and headers that no client should send."""

from urllib.parse import quote

from tests.hostile.process import ApiProcess
from tests.hostile.test_bodies import TIMES
from tests.support import API, World

IDS = ["0", "-1", "+1", "1.0", "1e3", "01", "1_0", "%201", "abc", "%00", "1%00", "%ff", "null", "NaN", "%EF%BC%91"]
IDS += ["9" * 19, "9" * 30, "9" * 5000]
QUERIES = [
    "limit=0",
    "limit=101",
    "limit=" + "9" * 5000,
    "limit=NaN",
    "limit=%00",
    "cursor=x",
    "cursor=%00",
    "cursor=%ff",
    "cursor=" + "A" * 1000,
    "cursor=" + "A" * 10_000,
    "sort=evil",
    "sort=id;drop",
    "sort=-",
    "sort=" + "id," * 100,
    "nope=1",
    "full_name__regex=x",
    "full_name[]=x",
    "__proto__=1",
    "full_name=%00",
    "full_name__contains=%00",
    "full_name__in=a,%00",
    "full_name__in=" + ",".join("a" * 500),
    "full_name=" + "x" * 5000,
    "is_active=maybe",
    "count=7",
    "%00=1",
    "a" * 5000 + "=1",
]
TRAVERSALS = [
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "//etc/passwd",
    "/docs/../../etc/passwd",
    "/docs/..%2f..%2f..%2fmain.py",
    "/docs/%2e%2e%2fpages.py",
    "/..\\..\\",
    "/%00",
    "/%ff",
    f"{API}/doctors%00",
    f"{API}//doctors",
    "/" + "a" * 60_000,
]


async def test_what_is_no_id_finds_nothing(api: ApiProcess, world: World) -> None:
    """Signs, fractions, other digits, NULs and 5,000 digits in the place of an id are 4xx for every method."""
    admin = await world.admin()
    await world.doctor()
    for text in IDS:
        for method in ("GET", "DELETE"):
            for path in (f"{API}/doctors/{text}", f"{API}/users/{text}"):
                answer = await api.ask(method, path, admin.headers)
                assert (answer.status, answer.code) in {(404, "not_found"), (422, "validation_error")}, path[:60]
    assert await world.scalar("SELECT count(*) FROM doctors WHERE deleted_at IS NULL") == 1


async def test_queries_out_of_the_grammar_are_refused(api: ApiProcess, world: World) -> None:
    """Unknown filters and operators, tampered cursors, NULs and endless values are 422 on a list."""
    admin = await world.admin()
    for query in QUERIES:
        answer = await api.ask("GET", f"{API}/doctors?{query}")
        assert (answer.status, answer.code) == (422, "validation_error"), (query[:60], answer.status)
    for query in ("email=%00", "email__in=a,%00", "full_name__contains=%00", "role=x"):
        answer = await api.ask("GET", f"{API}/users?{query}", admin.headers)
        assert (answer.status, answer.code) == (422, "validation_error"), query


async def test_times_in_queries_are_checked_as_in_bodies(api: ApiProcess, world: World) -> None:
    """A time that a body may not hold is 422 in a filter, too, and a day in the query of the slots."""
    admin = await world.admin()
    await world.doctor()
    for time in TIMES:
        text = quote(str(time))
        for path in (
            f"{API}/appointments?starts_at__gte={text}",
            f"{API}/users?created_at__lt={text}",
            f"{API}/doctors/1/slots?from={text}&to=2026-12-08",
        ):
            answer = await api.ask("GET", path, admin.headers)
            assert (answer.status, answer.code) == (422, "validation_error"), path


async def test_a_cursor_is_good_for_its_own_list_alone(api: ApiProcess, world: World) -> None:
    """A cursor with one character changed, or taken to another list or sort order, is 422."""
    admin = await world.admin()
    for _ in range(2):
        await world.doctor()
    page = (await api.ask("GET", f"{API}/doctors?limit=1")).json()
    cursor = page["next_cursor"]
    assert (await api.ask("GET", f"{API}/doctors?limit=1&cursor={cursor}")).status == 200
    paths = []
    for place, letter in enumerate(cursor):
        altered = cursor[:place] + ("A" if letter != "A" else "B") + cursor[place + 1 :]
        paths.append(f"{API}/doctors?cursor={altered}")
    paths += [f"{API}/doctors?sort=-id&cursor={cursor}", f"{API}/users?cursor={cursor}"]
    for path in paths:
        answer = await api.ask("GET", path, admin.headers)
        assert (answer.status, answer.code) == (422, "validation_error"), path


async def test_another_users_objects_are_not_there(api: ApiProcess, world: World) -> None:
    """What belongs to somebody else is answered like what does not exist, whatever is tried with it."""
    owner, other = await world.person(), await world.person()
    doctor_id = await world.doctor()
    await world.execute(
        "INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at)"
        " VALUES (:doctor, :patient, now() + interval '7 days', now() + interval '8 days')",
        doctor=doctor_id,
        patient=owner.id,
    )
    body = {"starts_at": "2026-12-01T09:00:00Z"}
    for method, action, content in [("GET", "", None), ("PATCH", "", body), ("POST", "/cancel", None)]:
        for appointment in (1, 999):
            answer = await api.ask(method, f"{API}/appointments/{appointment}{action}", other.headers, content)
            assert (answer.status, answer.code) == (404, "not_found"), (method, action, appointment)
    assert await world.scalar("SELECT status FROM appointments") == "booked"
    assert (await api.ask("GET", f"{API}/users/{owner.id}", other.headers)).code == "forbidden"


async def test_paths_lead_nowhere_else(api: ApiProcess) -> None:
    """No spelling of `..` leaves the routes, and every path that nobody serves is a 404 problem."""
    for path in TRAVERSALS:
        answer = await api.ask("GET", path)
        assert (answer.status, answer.code) == (404, "not_found"), path[:60]


async def test_unknown_methods_are_refused(api: ApiProcess, world: World) -> None:
    """A method that a path does not have is 405 with all that it has in `Allow`; one that HTTP does not have is 400."""
    await world.doctor()
    for method in ("OPTIONS", "TRACE", "PROPFIND", "PATCH", "DELETE"):
        answer = await api.ask(method, f"{API}/doctors")
        said = (answer.status, answer.code, answer.headers["allow"])
        assert said == (405, "method_not_allowed", "GET, HEAD, POST"), method
    answer = await api.ask("DELETE", f"{API}/users/me")
    assert (answer.code, answer.headers["allow"]) == ("method_not_allowed", "GET, HEAD, PATCH")
    for method in ("FOO", "get", "X" * 1000):
        assert (await api.ask(method, f"{API}/doctors")).code == "bad_request"


async def test_headers_with_rubbish_are_refused(api: ApiProcess, world: World) -> None:
    """Tokens that are none are 401 at any length, keys and tags out of form 4xx, and NULs do not get in at all."""
    admin = await world.admin()
    tokens = [b"\xff\xfe", b"a" * 60_000, b"a.b.c", b"..", b"", "é".encode(), b"e30.e30.e30"]
    for token in tokens:
        answer = await api.ask("GET", f"{API}/users/me", {"Authorization": b"Bearer " + token})
        assert (answer.status, answer.code) == (401, "invalid_token")
        assert answer.headers["www-authenticate"] == "Bearer"
    for key in (b"a" * 256, b"\xff", "é".encode()):
        headers = admin.headers | {"Idempotency-Key": key}
        answer = await api.ask("POST", f"{API}/doctors", headers, {"full_name": "a", "specialty": "b"})
        assert (answer.status, answer.code) == (422, "validation_error")
    assert (await api.ask("GET", f"{API}/users/me", {"Authorization": b"Bearer \0"})).code == "bad_request"
    assert await world.scalar("SELECT count(*) FROM doctors") == 0


async def test_a_request_id_is_taken_only_in_its_form(api: ApiProcess) -> None:
    """The caller's id comes back when it is 1 to 128 printable characters; any other is replaced."""
    assert (await api.ask("GET", "/nope", {"X-Request-ID": "mine ~ 1"})).headers["x-request-id"] == "mine ~ 1"
    for wrong in (b"\xff", b"a" * 129, b"tab\there"):
        answer = await api.ask("GET", "/nope", {"X-Request-ID": wrong})
        assert answer.code == "not_found"
        assert len(answer.headers["x-request-id"]) == 32
