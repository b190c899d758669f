"""priority, unique keys and versions of jobs; schedules

Revision ID: 0004
Revises: 0003
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UNPUBLISHED = "status = 'queued' AND published_at IS NULL"
UNIQUE_WHILE = "unique_key IS NOT NULL AND status IN ('queued', 'running')"
ADDED = ("ix_jobs_due", "uq_jobs_unique_key", "ix_jobs_not_succeeded", "ix_jobs_name_id")


@contextmanager
def beside_traffic() -> Iterator[None]:
    """Steps that stop nobody, and that wait for the transactions under way for as long as those take."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        yield
        op.execute("RESET lock_timeout")


def make_index(
    name: str, columns: list[str | sa.TextClause], *, where: str | None = None, unique: bool = False
) -> None:
    # One that an earlier run did not finish is there, and not valid.
    op.drop_index(name, table_name="jobs", postgresql_concurrently=True, if_exists=True)
    condition = None if where is None else sa.text(where)
    op.create_index(
        name,
        "jobs",
        columns,
        unique=unique,
        postgresql_where=condition,
        postgresql_concurrently=True,
        if_not_exists=True,
    )


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_job_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedules")),
        if_not_exists=True,
    )
    op.add_column(
        "jobs", sa.Column("priority", sa.BigInteger(), server_default="0", nullable=False), if_not_exists=True
    )
    op.add_column("jobs", sa.Column("unique_key", sa.Text(), nullable=True), if_not_exists=True)
    op.add_column("jobs", sa.Column("version", sa.BigInteger(), server_default="1", nullable=False), if_not_exists=True)
    with beside_traffic():
        make_index("ix_jobs_due", [sa.text("priority DESC"), "run_at", "id"], where=UNPUBLISHED)
        make_index("uq_jobs_unique_key", ["name", "unique_key"], where=UNIQUE_WHILE, unique=True)
        make_index("ix_jobs_not_succeeded", ["status", "id"], where="status <> 'succeeded'")
        make_index("ix_jobs_name_id", ["name", "id"])
        op.drop_index("ix_jobs_unpublished", table_name="jobs", postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    with beside_traffic():
        make_index("ix_jobs_unpublished", ["run_at", "id"], where=UNPUBLISHED)
        for name in ADDED:
            op.drop_index(name, table_name="jobs", postgresql_concurrently=True, if_exists=True)
    for column in ("version", "unique_key", "priority"):
        op.drop_column("jobs", column)
    op.drop_table("schedules")
