"""mail to many

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("context", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "role",
            sa.Enum("client", "admin", "superadmin", name="role", native_enum=False, length=16),
            nullable=True,
        ),
        sa.Column("user_ids", postgresql.ARRAY(sa.BigInteger()), nullable=True),
        sa.Column("last_user_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("num_nonnulls(role, user_ids) = 1", name=op.f("ck_notifications_audience")),
        sa.CheckConstraint("role IN ('client', 'admin', 'superadmin')", name=op.f("ck_notifications_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index(op.f("ix_notifications_created_at"), "notifications", ["created_at"], unique=False)
    op.create_table(
        "notification_recipients",
        sa.Column("notification_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("sent", "failed", name="recipientstatus", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(status = 'failed') = (reason IS NOT NULL)", name=op.f("ck_notification_recipients_reason")
        ),
        sa.CheckConstraint("status IN ('sent', 'failed')", name=op.f("ck_notification_recipients_status")),
        sa.ForeignKeyConstraint(
            ["notification_id"],
            ["notifications.id"],
            name=op.f("fk_notification_recipients_notification_id_notifications"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_notification_recipients_user_id_users")),
        sa.PrimaryKeyConstraint("notification_id", "user_id", name=op.f("pk_notification_recipients")),
    )
    op.create_index(op.f("ix_notification_recipients_user_id"), "notification_recipients", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_notification_recipients_user_id"), table_name="notification_recipients")
    op.drop_table("notification_recipients")
    op.drop_index(op.f("ix_notifications_created_at"), table_name="notifications")
    op.drop_table("notifications")
