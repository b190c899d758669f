"""Whether the parts that a process needs are there."""

from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from alembic.util.pyfiles import template_to_file

from app.services import readiness
from app.services.readiness import alembic_config, head_revision


def test_the_head_is_the_one_that_alembic_finds() -> None:
    """The revision that is read from the files as text is Alembic's own single head."""
    assert [head_revision()] == ScriptDirectory.from_config(alembic_config()).get_heads()


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_migration_is_read_as_it_was_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quote: str) -> None:
    """Unformatted and in either quotes: otherwise a service at the new head would never be ready."""
    names: dict[str, Any] = dict.fromkeys(("imports", "branch_labels", "depends_on", "upgrades", "downgrades"))
    template, versions = str(readiness.ROOT / "alembic" / "script.py.mako"), tmp_path / "alembic" / "versions"
    versions.mkdir(parents=True)
    for revision, before in (("0001", None), ("0002", "0001")):
        file = versions / f"{revision}.py"
        names |= {"message": "x", "up_revision": revision, "down_revision": before, "comma": str}
        template_to_file(template, str(file), "utf-8", **names)
        file.write_text(file.read_text().replace('"', quote))
    monkeypatch.setattr(readiness, "ROOT", tmp_path)
    monkeypatch.setattr(readiness, "known_revisions", readiness.known_revisions.__wrapped__)
    assert head_revision.__wrapped__() == "0002"
