"""second factor, and links that reset a password or change an address

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def _allow(purposes: str) -> None:
    # A wider set of purposes, in one transaction: nobody sees the table without its CHECK.
    op.execute(
        "-- squawk-ignore ban-drop-constraint\nALTER TABLE one_time_tokens DROP CONSTRAINT ck_one_time_tokens_purpose"
    )
    op.execute(
        "ALTER TABLE one_time_tokens ADD CONSTRAINT ck_one_time_tokens_purpose "
        f"CHECK (purpose IN ({purposes})) NOT VALID"
    )
    # Valid at once in the words of PostgreSQL; the rows are few, and reading goes on meanwhile.
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid\n"
        "ALTER TABLE one_time_tokens VALIDATE CONSTRAINT ck_one_time_tokens_purpose"
    )


def upgrade() -> None:
    _allow("'verify_email', 'reset_password', 'change_email'")
    op.add_column("one_time_tokens", sa.Column("email", sa.Text(), nullable=True))
    op.create_table(
        "totp_credentials",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_totp_credentials_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_totp_credentials")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["totp_credentials.user_id"],
            name=op.f("fk_recovery_codes_user_id_totp_credentials"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_codes")),
        sa.UniqueConstraint("user_id", "code_hash", name=op.f("uq_recovery_codes_user_id_code_hash")),
    )


def downgrade() -> None:
    op.drop_table("recovery_codes")
    op.drop_table("totp_credentials")
    op.drop_column("one_time_tokens", "email")
    op.execute("DELETE FROM one_time_tokens WHERE purpose <> 'verify_email'")
    _allow("'verify_email'")
