"""What has to hold of the ledger once everything is done, whichever faults there were."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from app.core.database import Database
from tests.chaos.load import Accepted
from tests.chaos.look import look

EXAMPLES = 5

UNFINISHED = "status NOT IN ('succeeded', 'failed', 'cancelled')"
_STUCK = f"SELECT id FROM jobs WHERE {UNFINISHED}"
_FAILED = "SELECT id FROM jobs WHERE status IN ('failed', 'cancelled')"
_NUMBERS = (
    "SELECT (payload->>'number')::bigint AS number, count(*) AS jobs FROM jobs WHERE payload ? 'number' GROUP BY 1"
)
_COUNTABLE = "SELECT id FROM jobs WHERE payload ? 'number'"
_TWICE = "SELECT job_id FROM chaos_effects GROUP BY 1 HAVING count(*) > 1"
_MISSING = f"{_COUNTABLE} AND status = 'succeeded' AND id NOT IN (SELECT job_id FROM chaos_effects)"
_UNEARNED = f"{_COUNTABLE} AND status <> 'succeeded' AND id IN (SELECT job_id FROM chaos_effects)"
_STALE = """
    SELECT e.job_id FROM chaos_effects e
    WHERE e.lease <> (SELECT s.lease FROM chaos_starts s WHERE s.job_id = e.job_id
        ORDER BY s.attempt DESC, s.at DESC LIMIT 1)
"""
_EAGER = """
    SELECT id FROM jobs
    WHERE attempt > max_attempts OR max_attempts < (SELECT count(*) FROM chaos_starts WHERE job_id = id)
"""
_MAILS = "SELECT id, status, result->>'message_id' AS message_id FROM jobs WHERE name LIKE 'mail.%'"


async def unfinished(database: Database) -> int:
    return int((await look(database, f"SELECT count(*) FROM ({_STUCK}) _"))[0][0])


async def violations(database: Database, accepted: Accepted, *, mails: Path) -> list[str]:
    """Every way in which the ledger and its effects differ from what was accepted; empty when all is well."""

    async def ids(sql: str) -> set[int]:
        return {row[0] for row in await look(database, sql)}

    known = await ids("SELECT id FROM jobs")
    failed = await ids(_FAILED)
    numbers = dict(tuple(row) for row in await look(database, _NUMBERS))
    return [
        *_said("lost: accepted, but not in the ledger", accepted.ids - known),
        *_said("stuck: neither succeeded nor failed", await ids(_STUCK)),
        *_said("failed, though nothing was wrong with it", failed - accepted.doomed),
        *_said("not failed, though it had to", accepted.doomed & known - failed),
        *_said("nobody sent the number", numbers.keys() - accepted.numbers - accepted.doubtful),
        *_said("one number in two jobs", {number for number, jobs in numbers.items() if jobs > 1}),
        *_said("effect twice", await ids(_TWICE)),
        *_said("succeeded without its effect", await ids(_MISSING)),
        *_said("effect without success", await ids(_UNEARNED)),
        *_said("effect of an attempt that a later one had followed", await ids(_STALE)),
        *_said("more attempts than allowed", await ids(_EAGER)),
        *_mails(await look(database, _MAILS), _stems(mails)),
    ]


def _stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.eml")}


def _mails(jobs: Sequence[Any], files: set[str]) -> Iterable[str]:
    """One file for each mail that was sent; a mail that is in doubt has the name of its job."""
    sent = {str(job.message_id).strip("<>"): job.id for job in jobs if job.status == "succeeded"}
    yield from _said("mail sent, but not there", {sent[name] for name in sent.keys() - files})
    yield from _said("mail of no job", files - sent.keys())


def _said(what: str, which: Iterable[Any]) -> Iterable[str]:
    found = sorted(which)
    if found:
        more = f" and {len(found) - EXAMPLES} more" if len(found) > EXAMPLES else ""
        yield f"{what}: {', '.join(str(one) for one in found[:EXAMPLES])}{more}"
