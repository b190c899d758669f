"""names and addresses of the erased leave the audit record

Revision ID: 0020
Revises: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# Of an account that is an erased shell already, and nothing but its own name and address.
_ERASED = """
        IF TG_OP = 'UPDATE' AND current_setting('frontdesk.erasing', true) = 'on'
            AND OLD.object_type = 'user'
            AND to_jsonb(NEW) - 'changes' = to_jsonb(OLD) - 'changes'
            AND NEW.changes = OLD.changes || (
                SELECT coalesce(jsonb_object_agg(name, 'erased'), '{}') FROM unnest(ARRAY['email', 'full_name']) AS name
                WHERE OLD.changes ? name
            )
            AND EXISTS (
                SELECT FROM public.users AS person WHERE person.id = OLD.object_id AND person.deleted_at IS NOT NULL
                AND person.email = 'erased-' || person.id || '@erased.invalid'
            )
        THEN
            RETURN NEW;
        END IF;"""
_REFUSE = """
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'ROW' THEN
        IF TG_OP = 'DELETE' AND current_setting('frontdesk.pruning', true) = 'on'
            AND OLD.at < now() - interval '30 days'
        THEN
            RETURN OLD;
        END IF;%s
    END IF;
    RAISE EXCEPTION 'audit_events is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$
"""
_FORGET = """
CREATE FUNCTION forget_in_audit_events(person bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET frontdesk.erasing = 'on' AS $$
DECLARE
    forgotten bigint;
BEGIN
    UPDATE public.audit_events SET changes = changes || (
        SELECT coalesce(jsonb_object_agg(name, 'erased'), '{}') FROM unnest(ARRAY['email', 'full_name']) AS name
        WHERE changes ? name
    )
    WHERE object_type = 'user' AND object_id = person AND EXISTS (
        SELECT FROM unnest(ARRAY['email', 'full_name']) AS name
        WHERE changes ? name AND changes -> name <> '"erased"'
    );
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END
$$
"""


def upgrade() -> None:
    op.execute(_REFUSE % _ERASED)
    op.execute(_FORGET)
    op.execute("REVOKE ALL ON FUNCTION forget_in_audit_events(bigint) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION forget_in_audit_events(bigint)")
    op.execute(_REFUSE % "")
