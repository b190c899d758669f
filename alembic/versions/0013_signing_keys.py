"""signing keys, and notices of what changes

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


# What a principal is made of; `last_seen_at` is not, and a sign-in or refresh raises nothing.
_USER = "email, full_name, role, is_active, email_verified, deleted_at, version"
_SESSION = "user_id, scope, revoked_at"


def upgrade() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column(
            "algorithm", sa.Enum("ES256", "EdDSA", name="keyalgorithm", native_enum=False, length=16), nullable=False
        ),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("public_jwk", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("signs_from", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("verify_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("algorithm IN ('ES256', 'EdDSA')", name=op.f("ck_signing_keys_algorithm")),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )
    op.execute(
        """
        CREATE FUNCTION frontdesk_tell_principal() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            -- The arguments: the column with the principal's id, and the sign before it.
            PERFORM pg_notify('frontdesk', 'principal ' || TG_ARGV[1] || (to_jsonb(OLD) ->> TG_ARGV[0]));
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION frontdesk_tell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('frontdesk', TG_ARGV[0]);
            RETURN NULL;
        END $$
        """
    )
    for table, columns, subject in (("users", _USER, "id"), ("auth_sessions", _SESSION, "user_id")):
        op.execute(
            f"CREATE TRIGGER tell_principal AFTER DELETE OR UPDATE OF {columns} ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION frontdesk_tell_principal('{subject}', '')"
        )
        op.execute(
            f"CREATE TRIGGER tell_everybody AFTER TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION frontdesk_tell('principal 0')"
        )
    op.execute(
        "CREATE TRIGGER tell_keys AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON signing_keys"
        " FOR EACH STATEMENT EXECUTE FUNCTION frontdesk_tell('keys')"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER tell_keys ON signing_keys")
    for table in ("auth_sessions", "users"):
        op.execute(f"DROP TRIGGER tell_everybody ON {table}")
        op.execute(f"DROP TRIGGER tell_principal ON {table}")
    op.execute("DROP FUNCTION frontdesk_tell()")
    op.execute("DROP FUNCTION frontdesk_tell_principal()")
    op.drop_table("signing_keys")
