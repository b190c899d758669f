"""What Prometheus sees of one process, and of the engines under all of them."""

from prometheus_client import Counter, Gauge, Histogram

LOOP_LAG_SECONDS = Histogram(
    "frontdesk_event_loop_lag_seconds",
    "How much later than asked the event loop woke a sleeper",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
PROCESSES = Gauge("frontdesk_processes", "Processes that run", multiprocess_mode="livesum")
RESIDENT_BYTES = Gauge("frontdesk_resident_bytes", "Memory that the processes hold", multiprocess_mode="livesum")
CPU_SECONDS = Counter("frontdesk_cpu_seconds_total", "Processor time of the processes, all their threads")
PART_UP = Gauge(
    "frontdesk_part_up",
    "Whether the part answers (1): database, redis; of several processes the worst",
    ["part"],
    multiprocess_mode="livemin",
)
POOL_SIZE = Gauge("frontdesk_db_pool_size", "Connections that the pools may hold", multiprocess_mode="livesum")
POOL_IN_USE = Gauge("frontdesk_db_pool_in_use", "Connections that somebody has", multiprocess_mode="livesum")
POOL_WAITING = Gauge("frontdesk_db_pool_waiting", "Who waits for a connection", multiprocess_mode="livesum")
POOL_WAITS = Counter("frontdesk_db_pool_waits_total", "Times that somebody had to wait: all connections were taken")
POOL_TIMEOUTS = Counter("frontdesk_db_pool_timeouts_total", "Times that somebody waited in vain")

POSTGRES_CONNECTIONS = Gauge(
    "frontdesk_postgres_connections", "Connections of clients by state", ["state"], multiprocess_mode="mostrecent"
)
POSTGRES_MAX_CONNECTIONS = Gauge(
    "frontdesk_postgres_max_connections", "Connections that the server grants", multiprocess_mode="mostrecent"
)
POSTGRES_SIZE_BYTES = Gauge(
    "frontdesk_postgres_size_bytes", "Size of the database on disk", multiprocess_mode="mostrecent"
)
POSTGRES_LOCK_WAITS = Gauge(
    "frontdesk_postgres_lock_waits", "Statements that wait for a lock", multiprocess_mode="mostrecent"
)
POSTGRES_OLDEST_SECONDS = Gauge(
    "frontdesk_postgres_oldest_transaction_seconds", "Age of the oldest transaction", multiprocess_mode="mostrecent"
)
POSTGRES_ARCHIVE_FAILS_SECONDS = Gauge(
    "frontdesk_postgres_archive_fails_seconds",
    "Time since a piece of the WAL was archived, while the next can't be; else 0",
    multiprocess_mode="mostrecent",
)
POSTGRES_STATISTICS = Gauge(
    "frontdesk_postgres_statistics",
    "What the server has counted of this database (pg_stat_database): grows, and starts anew when that is reset",
    ["name"],
    multiprocess_mode="mostrecent",
)
REDIS_MEMORY_BYTES = Gauge("frontdesk_redis_memory_bytes", "Memory in use", multiprocess_mode="mostrecent")
REDIS_MEMORY_LIMIT_BYTES = Gauge(
    "frontdesk_redis_memory_limit_bytes", "Memory that Redis may use; 0 is no limit", multiprocess_mode="mostrecent"
)
REDIS_CLIENTS = Gauge("frontdesk_redis_clients", "Connected clients", multiprocess_mode="mostrecent")
REDIS_STATISTICS = Gauge(
    "frontdesk_redis_statistics",
    "What Redis has counted since its start (INFO stats)",
    ["name"],
    multiprocess_mode="mostrecent",
)
