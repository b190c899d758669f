"""The steps that every job takes, each a statement that is made once: to put it together costs more than to run it.

What many ask for at once is one round trip and one commit. A single job has a form of its own: PostgreSQL plans a
statement on an array of one anew each time, which takes as long as carrying it out (decision 106).
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Interval,
    String,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    column,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.types import TypeEngine

from app.core.jobs import JobStatus, Priority
from app.crud.base import one_choice
from app.models import Job

# For the one transaction: its commit does not wait for the disk. Only for steps of which nothing is said to anybody and
# which are repeated when a crash of the database takes them back (decision 70). Later commits carry it along.
UNWAITED = select(func.set_config("synchronous_commit", "off", True)).scalar_subquery() == "off"
RELEASED: dict[str, Any] = {"lease_token": None, "lease_expires_at": None, "version": Job.version + 1}
SEEN = (
    Job.id,
    Job.version,
    Job.status,
    Job.attempt,
    Job.run_at,
    Job.started_at,
    Job.finished_at,
    Job.error,
    Job.progress_done,
    Job.progress_total,
    Job.progress_note,
)
"""What an onlooker is told of a change; the result, which may be large, is read when the job has ended."""


def in_status(status: JobStatus) -> ColumnElement[bool]:
    """As a constant: a plan that is kept has to know it, or it can't use an index of the jobs in that status alone."""
    return Job.status == literal_column(f"'{status.value}'")


_UNPUBLISHED = (in_status(JobStatus.QUEUED), Job.published_at.is_(None))
_DUE = (*_UNPUBLISHED, Job.run_at <= func.now())
_chosen = (
    select(Job.id)
    .where(*_DUE, Job.name == func.any(bindparam("names", type_=ARRAY(String))))
    .order_by(Job.priority.desc(), Job.run_at, Job.id)
    .limit(bindparam("limit", type_=BigInteger))
    .with_for_update(skip_locked=True)
)
TAKE = (
    update(Job)
    .where(Job.id == one_choice(_chosen), UNWAITED)
    .values(published_at=func.now(), publications=Job.publications + 1)
    .returning(
        Job.id,
        Job.name,
        Job.queue,
        Job.priority,
        Job.attempt,
        Job.publications,
        Job.traceparent,
        func.extract("epoch", func.now() - Job.run_at).label("lag"),
    )
)
_first = [
    select(func.min(Job.run_at))
    .where(*_UNPUBLISHED, Job.priority == literal_column(str(int(priority))))
    .scalar_subquery()
    for priority in Priority
]
NEXT_DUE = select(func.extract("epoch", func.least(*_first) - func.now()))
_names = (
    func.unnest(bindparam("names", type_=ARRAY(String)))
    .table_valued(column("name", String))
    .render_derived(name="asked")
)
# Looked for name by name, so that of a crowd of one name no more than its first is read.
_one_due = select(Job.id).where(Job.name == _names.c.name, *_DUE).limit(literal_column("1")).lateral("due")
NAMES_DUE = select(_names.c.name).select_from(_names.join(_one_due, true()))
UNDER_WAY = (
    select(Job.name, func.count())
    .where(
        Job.name == func.any(bindparam("names", type_=ARRAY(String))),
        or_(in_status(JobStatus.RUNNING), and_(in_status(JobStatus.QUEUED), Job.published_at.is_not(None))),
    )
    .group_by(Job.name)
)


_claimable = (
    in_status(JobStatus.QUEUED),
    Job.run_at <= func.now(),
    Job.name == func.any(bindparam("names", type_=ARRAY(String))),
)


def _claim(which: ColumnElement[bool]) -> ReturningUpdate[*tuple[Any, ...]]:
    return (
        update(Job)
        .where(which, *_claimable, UNWAITED)
        .values(
            status=JobStatus.RUNNING,
            attempt=Job.attempt + 1,
            lease_token=func.gen_random_uuid(),
            lease_expires_at=func.now() + bindparam("seconds", type_=Interval),
            started_at=func.now(),
            version=Job.version + 1,
        )
        .returning(*Job.__table__.c)
    )


# In one order for all, so that two claims of the same jobs never wait for each other; and none that runs, or the claim
# would wait for the transaction that completes it.
_wanted = select(Job.id).where(Job.id == func.any(bindparam("ids", type_=ARRAY(BigInteger))), *_claimable)
CLAIM_MANY = _claim(Job.id == one_choice(_wanted.order_by(Job.id).with_for_update()))
CLAIM_ONE = _claim(Job.id == bindparam("of", type_=BigInteger))


def _succeed(outcome: Mapping[str, ColumnElement[Any]]) -> ReturningUpdate[*tuple[Any, ...]]:
    done, reported = outcome["done"], outcome["done"].is_not(None)
    return (
        update(Job)
        .where(Job.id == outcome["of"], Job.lease_token == outcome["lease"], in_status(JobStatus.RUNNING))
        .values(
            status=JobStatus.SUCCEEDED,
            result=outcome["json"].cast(JSONB),
            error=None,
            finished_at=func.now(),
            progress_done=case((reported, done), else_=Job.progress_done),
            progress_total=case((reported, outcome["total"]), else_=Job.progress_total),
            progress_note=case((reported, outcome["note"]), else_=Job.progress_note),
            **RELEASED,
        )
        .returning(*SEEN)
    )


_OUTCOME: dict[str, type[TypeEngine[Any]]] = {
    "of": BigInteger,
    "lease": Uuid,
    "json": Text,
    "done": BigInteger,
    "total": BigInteger,
    "note": Text,
}
_outcomes = (
    func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in _OUTCOME.items()))
    .table_valued(*(column(name, kind) for name, kind in _OUTCOME.items()))
    .render_derived(name="outcome")
)
SUCCEED_MANY = _succeed({name: _outcomes.c[name] for name in _OUTCOME})
SUCCEED_ONE = _succeed({name: bindparam(name, type_=kind) for name, kind in _OUTCOME.items()})
