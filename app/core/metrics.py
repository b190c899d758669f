"""What Prometheus sees. With `PROMETHEUS_MULTIPROC_DIR` set, all processes of one role add up (decision 11)."""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from app.core.metrics_files import MULTIPROC

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
HASHING_WAITING = Gauge(
    "frontdesk_hashing_waiting", "Password hashes that wait for a thread", multiprocess_mode="livesum"
)
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
    "Whether the partner is left alone (1), as the process that looked last knows",
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


def exposition() -> tuple[bytes, str]:
    """The metrics in Prometheus' text format, and its media type."""
    registry = REGISTRY
    if os.environ.get(MULTIPROC):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
