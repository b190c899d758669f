"""The tree of domain errors: a stable code and a safe sentence, no HTTP (routers/problems.py has the statuses).

`detail` is shown to the client: it never holds a secret, SQL or another user's data.
"""

from typing import ClassVar


class DomainError(Exception):
    """Something the caller did, or met, that the contract has a code for."""

    code: ClassVar[str] = "error"
    message: ClassVar[str] = "The request can't be carried out."
    keeps_effects: ClassVar[bool] = False
    """Whether what was written before it was raised is committed all the same (an ended session, a mail)."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.message
        super().__init__(self.detail)


class Unauthenticated(DomainError):
    code = "invalid_token"
    message = "The access token is missing, expired or not valid."


class InvalidSignature(DomainError):
    code = "invalid_signature"
    message = "The webhook's signature is missing, stale, or of none of the secrets."


class InvalidGrant(DomainError):
    code = "invalid_grant"
    message = "The credentials or the refresh token are not valid."


class SignInRefused(InvalidGrant):
    """A sign-in that failed; that it did is recorded."""

    keeps_effects = True


class MfaRequired(InvalidGrant):
    """The password was right; the second factor is missing."""

    code = "mfa_required"
    message = "This account needs a code of its authenticator, or a recovery code, as otp."


class RefreshTokenReused(InvalidGrant):
    """A spent refresh token came back after the grace: its session is ended, and stays ended."""

    keeps_effects = True


class EmailNotVerified(InvalidGrant):
    """Refused like a wrong password; a new verification mail goes out."""

    keeps_effects = True


class InvalidGrantRequest(DomainError):
    """RFC 6749, 5.2: the form lacks a parameter."""

    code = "invalid_request"
    message = "The token request lacks a parameter."


class UnsupportedGrant(DomainError):
    code = "unsupported_grant_type"
    message = "grant_type must be password, refresh_token or client_credentials."


class Forbidden(DomainError):
    code = "forbidden"
    message = "You may not do this."


class InsufficientScope(Forbidden):
    """The token was narrowed, or belongs to a service account, and does not reach this far."""

    message = "The token's scope does not allow this."


class InvalidScope(DomainError):
    """RFC 6749, 5.2."""

    code = "invalid_scope"
    message = "The scope is unknown."


class InvalidClient(DomainError):
    """RFC 6749, 5.2: a service account that does not exist, has ended, or has shown no living secret."""

    code = "invalid_client"
    message = "The client id or its secret is not valid."
    keeps_effects = True


class CsrfRefused(Forbidden):
    code = "csrf_refused"
    message = "The page that sent this may not use the session's cookie."


class HostRefused(DomainError):
    """The request is for a name that is not ours."""

    code = "host_refused"
    message = "This service does not go by this name."


class PreflightRefused(DomainError):
    """A page of another origin asked for a method or a header that it may not use, or is not on the list itself."""

    code = "cors_refused"
    message = "Disallowed CORS request."


class NotFound(DomainError):
    code = "not_found"
    message = "There is no such object."


class Invalid(DomainError):
    """A value that the schema can't refuse by itself; `loc` and `msg` as in a validation error."""

    code = "validation_error"
    message = "The request is not valid."

    def __init__(self, msg: str, *, loc: tuple[str | int, ...], kind: str = "value_error") -> None:
        super().__init__(self.message)
        self.errors = [{"loc": list(loc), "msg": msg, "type": kind}]


class ProofRefused(Invalid):
    """Somebody who is signed in could not prove who they are; that they tried is recorded."""

    keeps_effects = True


class UnsupportedImage(DomainError):
    code = "unsupported_image"
    message = "The file is not a JPEG, PNG or WebP image."


class UnsupportedMediaType(DomainError):
    code = "unsupported_media_type"
    message = "The body is of a type or in a coding that can't be read."


class OutsideHours(DomainError):
    code = "outside_hours"
    message = "The doctor has no bookable slot that starts at this time."


class IdempotencyMismatch(DomainError):
    code = "idempotency_mismatch"
    message = "This Idempotency-Key was used with another request body; a repeat is the same byte for byte."


class Conflict(DomainError):
    code = "conflict"
    message = "The request conflicts with the present state."


class SlotTaken(Conflict):
    code = "slot_taken"
    message = "Another appointment takes this time."


class TooManyBooked(Conflict):
    code = "too_many_booked"
    message = "You have as many appointments to come as the clinic lets anybody have; cancel one, or ask the clinic."


class InvalidTransition(Conflict):
    code = "invalid_transition"
    message = "The object's status does not allow this step."


class DoctorHasAppointments(Conflict):
    code = "doctor_has_appointments"
    message = "The doctor has future appointments; cancel or move them first."


class SkuTaken(Conflict):
    code = "sku_taken"
    message = "Another product has this SKU."


class OutOfStock(Conflict):
    code = "out_of_stock"
    message = "There is not enough of a product."


class IdempotencyInFlight(Conflict):
    """`retry_after` in whole seconds."""

    code = "idempotency_in_flight"
    message = "The first request with this Idempotency-Key is still running."
    retry_after: ClassVar[int] = 1


class JobNotFinished(Conflict):
    code = "job_not_finished"
    message = "The job has not finished yet."


class MfaEnabled(Conflict):
    code = "mfa_enabled"
    message = "A second factor is set up already; remove it first."


class MfaNotPending(Conflict):
    code = "mfa_not_pending"
    message = "There is no second factor to confirm, or it has been confirmed."


class PreconditionFailed(DomainError):
    code = "precondition_failed"
    message = "The object has changed since you read it; read it again."


class BodyTooLarge(DomainError):
    code = "body_too_large"
    message = "The request's body is too large."


class RequestTimeout(DomainError):
    code = "request_timeout"
    message = "The request's body took too long to arrive."


class RateLimited(DomainError):
    """`retry_after` in whole seconds."""

    code = "rate_limited"
    message = "Too many attempts; wait before the next one."

    def __init__(self, retry_after: int, detail: str | None = None) -> None:
        super().__init__(detail)
        self.retry_after = max(1, retry_after)


class Unavailable(DomainError):
    """A part that the request needs is away or overloaded; `retry_after` in whole seconds."""

    code = "unavailable"
    message = "The service can't answer right now; try again."

    def __init__(self, detail: str | None = None, *, retry_after: int = 2) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
