"""The steps that every job takes, each a statement that is made once: to put it together costs more than to run it.

They take any number of jobs at a time, because what many ask for at once is then one round trip and one commit.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Interval,
    String,
    Text,
    Uuid,
    bindparam,
    case,
    column,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.core.jobs import JobStatus
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

# In one order for all, so that two claims of the same jobs never wait for each other.
_due = (
    select(Job.id)
    .where(Job.id == func.any(bindparam("ids", type_=ARRAY(BigInteger))), Job.status == JobStatus.QUEUED)
    .where(Job.run_at <= func.now(), Job.name == func.any(bindparam("names", type_=ARRAY(String))))
    .order_by(Job.id)
    .with_for_update()
)
CLAIM = (
    update(Job)
    .where(Job.id.in_(_due), Job.status == JobStatus.QUEUED, UNWAITED)
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

_done = (
    func.unnest(
        bindparam("ids", type_=ARRAY(BigInteger)),
        bindparam("leases", type_=ARRAY(Uuid)),
        bindparam("results", type_=ARRAY(Text)),
        bindparam("done", type_=ARRAY(BigInteger)),
        bindparam("total", type_=ARRAY(BigInteger)),
        bindparam("note", type_=ARRAY(Text)),
    )
    .table_valued(
        column("of", BigInteger),
        column("lease", Uuid),
        column("result", Text),
        column("done", BigInteger),
        column("total", BigInteger),
        column("note", Text),
    )
    .render_derived(name="outcome")
)
_reported = _done.c.done.is_not(None)
SUCCEED = (
    update(Job)
    .where(Job.id == _done.c.of, Job.lease_token == _done.c.lease, Job.status == JobStatus.RUNNING)
    .values(
        status=JobStatus.SUCCEEDED,
        result=_done.c.result.cast(JSONB),
        error=None,
        finished_at=func.now(),
        progress_done=case((_reported, _done.c.done), else_=Job.progress_done),
        progress_total=case((_reported, _done.c.total), else_=Job.progress_total),
        progress_note=case((_reported, _done.c.note), else_=Job.progress_note),
        **RELEASED,
    )
    .returning(*SEEN)
)
