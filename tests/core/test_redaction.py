"""No secret gets into the log, and no stranger slows the log down."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.core.redaction import MASK, redact, redact_event, redact_text

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_x"
SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "connecting to postgresql+asyncpg://frontdesk:hunter2@db:5432/frontdesk failed",
        "redis://:hunter2@127.0.0.1:6379/0",
        "postgresql://user:p@hunter2@db/frontdesk",
        "amqp://guest:hunter2@mq//",
        "Authorization: Bearer hunter2",
        "authorization: hunter2",
        "{'authorization': 'Basic hunter2 and more'}",
        "Bearer hunter2hunter2",
        "Cookie: a=b; session=hunter2; theme=dark",
        'set-cookie="session=hunter2; HttpOnly"',
        "X-Api-Key: hunter2",
        "api_key=hunter2",
        "AUTH_SECRET_KEY=hunter2",
        "FIRST_SUPERADMIN_PASSWORD=hunter2",
        "grant_type=password&username=a&password=hunter2&scope=",
        '{"username": "a", "password": "hunter2", "scope": ""}',
        '{"password": "with \\" a quote hunter2"}',
        r"{\"password\": \"hunter2\"}",
        "register(email='a@b.example', password='one two hunter2', name='x')",
        "refresh_token: hunter2",
        "token=b'hunter2'",
        "otp=hunter2",
        "passwd = hunter2",
        "client-secret=hunter2",
        "webhook whsec_hunter2",
        "hash $bcrypt-sha256$v=2,t=2b,r=12$hunter2$hunter2",
        "hash $2b$12$hunter2",
        f"token {JWT.replace('c2ln', SECRET)}",
        f"https://clinic.example.org/verify-email?token={SECRET}&next=/",
    ],
)
def test_a_secret_in_a_text_is_masked(text: str) -> None:
    """Whatever form it has, the secret is gone and the line says that something was there."""
    masked = redact_text(text)
    assert SECRET not in masked
    assert MASK in masked


@pytest.mark.parametrize(
    "text",
    [
        "an invalid password was given",
        "password reset for user 5",
        "GET /api/v1/appointments/5 200",
        "https://clinic.example.org:8443/api/v1/doctors?specialty=Cardiology&limit=20",
        "2026-11-22T09:00:00+00:00",
        "SELECT id, full_name FROM doctors WHERE id = 5",
        "the token has expired",
        "hotpath=1 laptop: yes specialty=secretless",
        "mail to pat@example.com: 250 OK",
        "0af7651916cd43dd8448eb211c80319c",
    ],
)
def test_what_is_harmless_stays(text: str) -> None:
    """A line without a secret is left as it is."""
    assert redact_text(text) == text


@given(st.lists(st.one_of(st.sampled_from(["password", "Bearer", "eyJ", "whsec"]), st.text()), max_size=5))
def test_letters_and_digits_alone_are_no_secret(words: list[str]) -> None:
    """The short way for them says what the long way says, which a space at the end asks for."""
    letters = "".join(filter(str.isalnum, "".join(words)))
    assert redact_text(letters) == letters
    assert redact_text(f"{letters} ") == f"{letters} "


def test_secrets_are_masked_at_any_depth() -> None:
    """By the name of their key, by their form, in headers as pairs, in lists, bytes and objects of any kind."""
    found = repr(
        redact(
            {
                "headers": [(b"authorization", SECRET.encode()), ("Cookie", SECRET), (b"accept", b"*/*")],
                "body": {"password": SECRET, "nested": [{"apiKey": SECRET, "totp": 123456}, (SecretStr(SECRET), 1)]},
                "error": ValueError(f"password={SECRET}"),
                "raw": f"token={SECRET}".encode(),
                ("a", "tuple"): 1,
            }
        )
    )
    assert SECRET not in found
    assert "123456" not in found
    assert "*/*" in found


def test_a_deep_or_endless_structure_ends() -> None:
    """Six levels are shown; what lies below, or contains itself, is masked."""
    endless: dict[str, Any] = {"deeper": None}
    endless["deeper"] = endless
    assert repr(redact(endless)).count("deeper") == 6
    assert MASK in repr(redact(endless))


def test_the_fields_of_a_line_are_masked_by_name_and_by_form() -> None:
    """Secret fields are masked even as numbers; numbers, flags and empty values that say nothing stay."""
    event = redact_event(
        None,
        "info",
        {
            "event": f"signed in with password={SECRET}",
            "otp": 123456,
            "access_token": SECRET,
            "database_url": SECRET,
            "token_type": "bearer",
            "password": None,
            "has_token": True,
            "status": 200,
            "duration_ms": 1.5,
            "user_id": 7,
            "level": "info",
        },
    )
    assert event == {
        "event": f"signed in with password={MASK}",
        "otp": MASK,
        "access_token": MASK,
        "database_url": MASK,
        "token_type": "bearer",
        "password": None,
        "has_token": True,
        "status": 200,
        "duration_ms": 1.5,
        "user_id": 7,
        "level": "info",
    }


@pytest.mark.parametrize(
    "part",
    [
        "a-", "a", "password", "cookie", "-eyJ", "eyJ.", "://a:", ":", "Bearer ", "password ", "password='\\", "token'",
        "otp", " ", "$2a$", "secret-", "\\",
    ],
)  # fmt: skip
def test_no_text_takes_long(part: str) -> None:
    """64 KiB that a stranger chose, the length of a whole request line, are looked through in less than a second."""
    text = (part * (65536 // len(part))) + " "
    started = time.perf_counter()
    redact_text(text)
    assert time.perf_counter() - started < 4  # quadratic, it was 10
