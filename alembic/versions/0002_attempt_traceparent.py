"""The trace context of a job's last failed attempt: what a retry is linked to."""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("attempt_traceparent", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "attempt_traceparent")
