"""idempotency keys that are reserved while their request runs

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ANSWER = ("status", "headers", "body")
CHECKS = {
    "ck_idempotency_keys_leased_until": "num_nonnulls(status, leased_until) = 1",
    "ck_idempotency_keys_status": "num_nulls(status, headers, body) IN (0, 3)",
}


def upgrade() -> None:
    op.add_column("idempotency_keys", sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True))
    for name in ANSWER:
        # A release of before answers 500 where it meets a reservation, and does nothing (decision 29).
        op.execute(
            f"-- squawk-ignore ban-drop-not-null\nALTER TABLE idempotency_keys ALTER COLUMN {name} DROP NOT NULL"
        )
    for name, rule in CHECKS.items():
        op.execute(f"ALTER TABLE idempotency_keys ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")
        # Every row of before has an answer and no lease; reading goes on meanwhile.
        op.execute(
            f"-- squawk-ignore constraint-missing-not-valid\nALTER TABLE idempotency_keys VALIDATE CONSTRAINT {name}"
        )


def downgrade() -> None:
    for name in CHECKS:
        op.execute(f"ALTER TABLE idempotency_keys DROP CONSTRAINT {name}")
    op.execute("DELETE FROM idempotency_keys WHERE status IS NULL")
    for name in ANSWER:
        op.alter_column("idempotency_keys", name, nullable=False)
    op.drop_column("idempotency_keys", "leased_until")
