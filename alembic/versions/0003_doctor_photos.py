"""doctor photos

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "temporary_objects",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_temporary_objects")),
    )
    op.create_index(op.f("ix_temporary_objects_expires_at"), "temporary_objects", ["expires_at"], unique=False)
    op.add_column("doctors", sa.Column("photo", sa.Text(), nullable=True))
    op.add_column("doctors", sa.Column("photo_job_id", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("doctors", "photo_job_id")
    op.drop_column("doctors", "photo")
    op.drop_index(op.f("ix_temporary_objects_expires_at"), table_name="temporary_objects")
    op.drop_table("temporary_objects")
