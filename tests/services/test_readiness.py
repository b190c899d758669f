"""Whether the parts that a process needs are there."""

from alembic.script import ScriptDirectory

from app.services.readiness import alembic_config, head_revision


def test_the_head_is_the_one_that_alembic_finds() -> None:
    """The revision that is read from the files as text is Alembic's own single head."""
    assert [head_revision()] == ScriptDirectory.from_config(alembic_config()).get_heads()
