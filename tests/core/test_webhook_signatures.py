"""Signatures of webhooks, in and out."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from app.core.errors import Invalid, InvalidSignature
from app.core.webhook_signatures import GitHubVerifier, StandardVerifier, new_secret, secret_key, sign

# What is published with the standard: in its libraries' tests, github.com/standard-webhooks/standard-webhooks
# (libraries/*/tests), and in its authors' guide, docs.svix.com/receiving/verifying-payloads/how-manual.
VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b"msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        b"msg_loFOjxBNrRLzqYUf",
        1731705121,
        b'{"event_type":"ping","data":{"success":true}}',
        b"v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ),
]
# And the one that GitHub publishes: docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries.
GITHUB = (
    "It's a Secret to Everybody",
    b"Hello, World!",
    b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
)
SECRET, BODY = new_secret(), b'{"type": "payment.succeeded"}'
Headers = list[tuple[bytes, bytes]]


def signed(secret: str = SECRET, body: bytes = BODY, **changes: bytes) -> Headers:
    """The headers of a good webhook, but for `changes`; an empty value leaves one out."""
    event_id, now = b"msg_1", str(int(time.time())).encode()
    event_id, now = changes.get("webhook_id", event_id), changes.get("webhook_timestamp", now)
    good = {"webhook_id": event_id, "webhook_timestamp": now}
    good["webhook_signature"] = sign(secret_key(secret), event_id=event_id, timestamp=now, body=body)
    return [(name.replace("_", "-").encode(), value) for name, value in (good | changes).items() if value]


@pytest.mark.parametrize("vector", VECTORS, ids=["library", "guide"])
def test_the_published_vectors_pass_in_and_out(
    vector: tuple[str, bytes, int, bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """We sign as the standard's examples are signed, and take them at their time."""
    secret, event_id, timestamp, body, signature = vector
    at = str(timestamp).encode()
    assert sign(secret_key(secret), event_id=event_id, timestamp=at, body=body) == signature
    monkeypatch.setattr(time, "time", lambda: float(timestamp))
    headers = [(b"webhook-id", event_id), (b"webhook-timestamp", at), (b"webhook-signature", signature)]
    assert StandardVerifier([secret]).verify(headers, body) == event_id.decode()


def test_the_standards_own_library_is_a_peer() -> None:
    """Its library takes what we sign, and we take what it signs."""
    peer, now = Webhook(SECRET), datetime.now(UTC)
    ours = {name.decode(): value.decode() for name, value in signed()}
    assert peer.verify(BODY, ours) == {"type": "payment.succeeded"}
    at = str(int(now.timestamp())).encode()
    theirs = signed(webhook_timestamp=at, webhook_signature=peer.sign("msg_1", now, BODY.decode()).encode())
    assert StandardVerifier([SECRET]).verify(theirs, BODY) == "msg_1"


def test_any_live_secret_will_do() -> None:
    """While secrets rotate, each of them is taken, and each signature of a list is looked at."""
    old, new = new_secret(), new_secret()
    verifier = StandardVerifier([new, old])
    assert verifier.verify(signed(old), BODY) == verifier.verify(signed(new), BODY) == "msg_1"
    unknown = dict(signed(new_secret()))[b"webhook-signature"]
    good = dict(signed(old))[b"webhook-signature"]
    assert verifier.verify(signed(old, webhook_signature=b"v1a,x v2 " + unknown + b" " + good), BODY) == "msg_1"
    with pytest.raises(InvalidSignature):
        StandardVerifier([new]).verify(signed(old), BODY)


@pytest.mark.parametrize("off", [-299, 299])
def test_a_clock_may_be_five_minutes_off(off: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 300 seconds either way a timestamp is good."""
    now = int(time.time())
    monkeypatch.setattr(time, "time", lambda: now + 0.5)
    at = str(now + off).encode()
    assert StandardVerifier([SECRET]).verify(signed(webhook_timestamp=at), BODY) == "msg_1"


@pytest.mark.parametrize("off", [-302, 302, -86400, 10**11])
def test_a_stale_webhook_is_refused(off: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good signature over a time that is too far away is none."""
    now = int(time.time())
    monkeypatch.setattr(time, "time", lambda: now + 0.5)
    at = str(now + off).encode()
    with pytest.raises(InvalidSignature):
        StandardVerifier([SECRET]).verify(signed(webhook_timestamp=at), BODY)


# Signed when they are tried: an old signature would be refused for its age.
BROKEN: Mapping[str, Callable[[], Headers]] = {
    "no headers": list,
    "no id": lambda: signed()[1:],
    "no signature": lambda: signed()[:2],
    "id twice": lambda: [*signed(), (b"webhook-id", b"msg_2")],
    "signature twice": lambda: [*signed(), signed()[2]],
    "another id": lambda: [*signed()[1:], (b"webhook-id", b"msg_2")],
    "id of 256": lambda: signed(webhook_id=b"x" * 256),
    "id with a space": lambda: signed(webhook_id=b"a b"),
    "id beyond ASCII": lambda: signed(webhook_id=b"\xff"),
    "time as a fraction": lambda: signed(webhook_timestamp=f"{time.time():.3f}".encode()),
    "negative time": lambda: signed(webhook_timestamp=b"-5"),
    "endless time": lambda: signed(webhook_timestamp=b"inf"),
    "time of a thousand digits": lambda: signed(webhook_timestamp=b"9" * 1000),
    "arabic digits": lambda: signed(webhook_timestamp="١٢٣".encode()),
    "empty list": lambda: signed(webhook_signature=b" "),
    "no version": lambda: signed(webhook_signature=signed()[2][1].removeprefix(b"v1,")),
    "another version": lambda: signed(webhook_signature=signed()[2][1].replace(b"v1", b"v2")),
    "no base64": lambda: signed(webhook_signature=b"v1,\xff\xfe"),
    "too many": lambda: signed(webhook_signature=b"v1,AAAA " * 20 + signed()[2][1]),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_not_signed_is_refused(broken: Callable[[], Headers]) -> None:
    """Whatever is missing, doubled or malformed is an invalid signature and nothing worse."""
    with pytest.raises(InvalidSignature):
        StandardVerifier([SECRET]).verify(broken(), BODY)


def test_the_raw_bytes_are_signed() -> None:
    """The same JSON in other bytes is another body."""
    with pytest.raises(InvalidSignature):
        StandardVerifier([SECRET]).verify(signed(), BODY.replace(b": ", b":"))


NAMES = st.sampled_from(
    [b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"x-hub-signature-256", b"x-delivery-id"]
)


@given(headers=st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=8), body=st.binary(max_size=300))
def test_garbage_is_refused_and_never_breaks_anything(headers: Headers, body: bytes) -> None:
    """Any bytes in any header and body are an invalid signature."""
    for verifier in (StandardVerifier([SECRET]), GitHubVerifier(["secret"])):
        with pytest.raises(InvalidSignature):
            verifier.verify(headers, body)


def test_githubs_published_vector_passes() -> None:
    """Our check of GitHub's form agrees with GitHub."""
    secret, body, signature = GITHUB
    headers = [(b"x-hub-signature-256", signature), (b"x-delivery-id", b"72d3162e")]
    assert GitHubVerifier(["another", secret]).verify(headers, body) == "72d3162e"
    with pytest.raises(InvalidSignature):
        GitHubVerifier([secret]).verify(headers, body + b" ")


@pytest.mark.parametrize("ids", [[], [b""], [b"a", b"a"], [b"\xe9"], [b"x" * 256]])
def test_a_delivery_needs_one_good_id(ids: list[bytes]) -> None:
    """GitHub's form does not sign the id: a body that is signed, but has no usable id, is the sender's mistake."""
    secret, body, signature = GITHUB
    headers = [(b"x-hub-signature-256", signature), *((b"x-delivery-id", one) for one in ids)]
    with pytest.raises(Invalid):
        GitHubVerifier([secret]).verify(headers, body)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é", "whsec_a", "whsec_ab cd"])
def test_a_secret_is_whsec_and_base64(secret: str) -> None:
    """What holds no key is refused when it is read, and not taken for an empty key."""
    with pytest.raises(ValueError, match="webhook secret"):
        secret_key(secret)


def test_a_new_secret_has_the_length_that_the_standard_wants() -> None:
    """whsec_ and 24 to 64 bytes of base64, no two alike."""
    assert 24 <= len(secret_key(new_secret())) <= 64
    assert new_secret() != new_secret()
