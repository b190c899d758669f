"""What Prometheus sees. With `PROMETHEUS_MULTIPROC_DIR` set, all processes of one role add up (decision 11)."""

import platform

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from app import __version__
from app.core.metrics_files import metrics_folder
from app.core.metrics_merge import text_of

BUILD = Gauge("frontdesk_build_info", "1 for the version that runs", ["version", "python"], multiprocess_mode="livemax")

JOBS = Counter("frontdesk_jobs_total", "Attempts of jobs by outcome", ["name", "outcome"])
JOB_SECONDS = Histogram(
    "frontdesk_job_seconds", "Duration of one attempt", ["name"], buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
)
JOB_WAIT_SECONDS = Histogram(
    "frontdesk_job_wait_seconds",
    "From the moment a job is due to its start",
    ["queue"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 300),
)
JOBS_PENDING = Gauge(
    "frontdesk_jobs_pending", "Due or running jobs in the ledger", ["queue", "status"], multiprocess_mode="mostrecent"
)
JOBS_OLDEST_SECONDS = Gauge(
    "frontdesk_jobs_oldest_seconds", "Age of the oldest due job", ["queue"], multiprocess_mode="mostrecent"
)
JOBS_RETRIED = Counter("frontdesk_jobs_retried_total", "Attempts that failed and are to be repeated", ["name"])
JOBS_DEAD = Counter("frontdesk_jobs_dead_total", "Jobs that failed for good", ["name"])
RELAY_LAG_SECONDS = Histogram(
    "frontdesk_relay_lag_seconds",
    "From the moment a job is due to its first publication",
    ["queue"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 300),
)
RELAY_PUBLISHED = Counter("frontdesk_relay_published_total", "Messages given to the queues", ["queue"])
LEASES_EXPIRED = Counter("frontdesk_leases_expired_total", "Jobs taken back from a worker that stopped answering")
PAYMENT_EVENTS = Counter(
    "frontdesk_payment_events_total",
    "What came of the payment provider's events: the new state, known, mismatch or unknown",
    ["type", "outcome"],
)
WEBHOOKS = Counter("frontdesk_webhooks_sent_total", "Attempts at sending webhooks by outcome", ["event", "outcome"])
WEBHOOK_SECONDS = Histogram(
    "frontdesk_webhook_seconds",
    "Duration of one attempt at sending a webhook",
    ["outcome"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 3, 5, 10),
)
WEBHOOKS_PENDING = Gauge(
    "frontdesk_webhooks_pending", "Deliveries that are due and not sent yet", multiprocess_mode="mostrecent"
)
WEBHOOKS_OLDEST_SECONDS = Gauge(
    "frontdesk_webhooks_oldest_seconds", "How long the oldest due delivery has waited", multiprocess_mode="mostrecent"
)
WEBHOOKS_RECEIVED = Counter(
    "frontdesk_webhooks_received_total",
    "Webhooks from partners: stored, refused (signature), malformed, or failed (ours: the partner sends it again)",
    ["provider", "outcome"],
)
WEBHOOKS_HANDLED = Counter(
    "frontdesk_webhooks_handled_total", "Stored webhooks by what came of them", ["provider", "outcome"]
)
HASHING_WAITING = Gauge(
    "frontdesk_hashing_waiting", "Password hashes that wait for a thread", multiprocess_mode="livesum"
)
HASHING_SECONDS = Histogram(
    "frontdesk_hashing_seconds",
    "From asking for a password hash to having it, the wait for a thread included",
    buckets=(0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 10),
)
HASHING_REFUSED = Counter(
    "frontdesk_hashing_refused_total", "Password hashes that nobody made: too many waited, or one too long", ["reason"]
)
LIMITED = Counter(
    "frontdesk_rate_limited_total",
    "Requests refused with 429 by the class of the limit: read, write, auth, sign_in",
    ["limit"],
)
CACHE = Counter("frontdesk_cache_total", "Looks into a cache of this process", ["cache", "outcome"])
PARTNER_CALLS = Counter(
    "frontdesk_partner_calls_total",
    "Calls to partners by their outcome, retries included",
    ["vendor", "operation", "outcome"],
)
PARTNER_SECONDS = Histogram(
    "frontdesk_partner_call_seconds",
    "Duration of a call to a partner, retries included",
    ["vendor", "operation"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
PARTNER_RETRIES = Counter("frontdesk_partner_retries_total", "Attempts beyond the first", ["vendor", "operation"])
PARTNER_CIRCUIT_OPEN = Gauge(
    "frontdesk_partner_circuit_open",
    "Whether the partner is left alone (1), as all processes know; looked at every 5 s",
    ["vendor"],
    multiprocess_mode="mostrecent",
)
BACKUP_LAST_SUCCESS = Gauge(
    "frontdesk_backup_last_success_timestamp_seconds",
    "When the last complete backup was finished; 0 when there is none",
    multiprocess_mode="mostrecent",
)
BACKUP_LAST_VERIFIED = Gauge(
    "frontdesk_backup_last_verified_timestamp_seconds",
    "When a backup was last restored to try it; 0 when none was",
    multiprocess_mode="mostrecent",
)
BACKUP_SIZE = Gauge("frontdesk_backup_size_bytes", "Size of the last complete backup", multiprocess_mode="mostrecent")
EVENTS_RECEIVED = Counter("frontdesk_events_received_total", "Events of others by what became of them", ["outcome"])

LIST_READS = Counter("frontdesk_list_reads_total", "Reads that may come from a replica, by who answered", ["source"])
REPLICA_LAG_SECONDS = Gauge(
    "frontdesk_replica_lag_seconds",
    "How far the replica is behind at most, at the last look; NaN while it is away",
    multiprocess_mode="mostrecent",
)


# From zero on: what Prometheus first sees at one has not risen.
for _reason in ("full", "late"):
    HASHING_REFUSED.labels(_reason)
for _limit in ("read", "write", "auth", "sign_in"):
    LIMITED.labels(_limit)


def describe_build() -> None:
    """Say which version this process is."""
    BUILD.labels(__version__, platform.python_version()).set(1)


def exposition() -> tuple[bytes, str]:
    """The metrics in Prometheus' text format, and its media type. Raises FolderBusy."""
    folder = metrics_folder()
    return text_of(folder) if folder else generate_latest(REGISTRY), CONTENT_TYPE_LATEST
