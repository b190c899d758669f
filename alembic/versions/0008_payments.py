"""payments

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "creating",
                "pending",
                "succeeded",
                "surplus",
                "failed",
                "cancelled",
                "refunded",
                name="paymentstatus",
                native_enum=False,
                length=16,
            ),
            server_default="creating",
            nullable=False,
        ),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("key", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("checkout_url", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status <> 'pending' OR provider_id IS NOT NULL", name=op.f("ck_payments_provider_id")),
        sa.CheckConstraint(
            "status IN ('creating', 'pending', 'succeeded', 'surplus', 'failed', 'cancelled', 'refunded')",
            name=op.f("ck_payments_status"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_payments_amount")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_payments_order_id_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("key", name=op.f("uq_payments_key")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_payments_provider_id")),
    )
    op.create_index(op.f("ix_payments_order_id_id"), "payments", ["order_id", "id"], unique=False)
    op.create_index(
        "uq_payments_live",
        "payments",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('creating', 'pending')"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_payments_live", table_name="payments", postgresql_where=sa.text("status IN ('creating', 'pending')")
    )
    op.drop_index(op.f("ix_payments_order_id_id"), table_name="payments")
    op.drop_table("payments")
