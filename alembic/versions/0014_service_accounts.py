"""service accounts

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Table, what a principal is made of, the column with its id. The id of a service account's principal is below zero.
_TOLD = (
    ("service_accounts", "name, scopes, deleted_at, version", "id"),
    ("service_account_secrets", "account_id, revoked_at", "account_id"),
)


def upgrade() -> None:
    op.create_table(
        "service_accounts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_accounts")),
    )
    op.create_table(
        "service_account_secrets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["service_accounts.id"], name=op.f("fk_service_account_secrets_account_id_service_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_account_secrets")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_service_account_secrets_secret_hash")),
    )
    op.create_index(
        op.f("ix_service_account_secrets_account_id"),
        "service_account_secrets",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    for table, columns, subject in _TOLD:
        op.execute(
            f"CREATE TRIGGER tell_principal AFTER DELETE OR UPDATE OF {columns} ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION frontdesk_tell_principal('{subject}', '-')"
        )
        op.execute(
            f"CREATE TRIGGER tell_everybody AFTER TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION frontdesk_tell('principal 0')"
        )


def downgrade() -> None:
    op.drop_index(
        op.f("ix_service_account_secrets_account_id"),
        table_name="service_account_secrets",
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.drop_table("service_account_secrets")
    op.drop_table("service_accounts")
