"""The order of a release, with a program in the place of kubectl that answers for a cluster."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.test_kubernetes import FOLDER, OVERLAYS

KUBECTL = """#!/bin/sh
echo "$*" >>"$HERE/asked"
case "$*" in
*" get job/"*)
    head -n 1 "$HERE/states"
    sed -i 1d "$HERE/states"
    ;;
*" logs "*) echo "the words of the migration" ;;
*"$BREAKS"*) exit 3 ;;
esac
"""


def release(here: Path, overlay: str, *states: str, breaks: str = "nothing") -> tuple[int, str, list[str]]:
    """Exit code, what was printed, and what kubectl was asked, when the Job is in these states one after the other."""
    (here / "kubectl").write_text(KUBECTL)
    (here / "kubectl").chmod(0o755)
    (here / "states").write_text("".join(f"{state}\n" for state in states))
    environment = {"PATH": f"{here}:{os.environ['PATH']}", "HERE": str(here), "BREAKS": breaks, "POLL_SECONDS": "0"}
    done = subprocess.run(
        [FOLDER / "release", FOLDER / "overlays" / overlay],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, (here / "asked").read_text().splitlines()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_rest_comes_after_the_migration(tmp_path: Path, overlay: str) -> None:
    """Namespace, what the migration needs with it, its end, and only then the rest, in the namespace of the overlay."""
    code, _, asked = release(tmp_path, overlay, "", "SuccessCriteriaMet", "SuccessCriteriaMet Complete")
    assert code == 0
    folder = FOLDER / "overlays" / overlay
    applied = [line for line in asked if line.startswith("apply")]
    assert applied == [
        f"apply -f {folder}/namespace.yaml",
        f"apply -k {folder} -l frontdesk/phase=first",
        f"apply -k {folder}",
    ]
    last_look = max(number for number, line in enumerate(asked) if " get job/" in line)
    assert asked.index(applied[1]) < last_look < asked.index(applied[2])
    assert sum(" get job/" in line for line in asked) == 3
    assert "rollout status" in asked[-1]
    namespace = {"production": "frontdesk", "staging": "frontdesk-staging"}[overlay]
    assert all(line.startswith(f"-n {namespace} ") for line in asked if not line.startswith("apply"))
    assert asked.index(f"-n {namespace} delete job/frontdesk-migrate --ignore-not-found") < asked.index(applied[1])


def test_a_migration_that_fails_ends_the_release(tmp_path: Path) -> None:
    """At once and not after half an hour: exit code 1, the migration's words, and no other apply."""
    code, said, asked = release(tmp_path, "production", "", "FailureTarget", "FailureTarget Failed")
    assert code == 1
    assert "the words of the migration" in said
    assert "what runs is as before" in said
    assert len([line for line in asked if line.startswith("apply")]) == 2


def test_a_cluster_that_refuses_ends_the_release(tmp_path: Path) -> None:
    """Nothing is waited for that was not applied."""
    code, _, asked = release(tmp_path, "production", breaks="phase=first")
    assert code == 3
    assert not [line for line in asked if " get job/" in line]
