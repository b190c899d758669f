"""The environment that makes itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "local" / "bootstrap.py"
STAMP = (
    "import sys; sys.path[0] = sys.argv[1]; import bootstrap as b; b.STAMP.write_text(b.fingerprint(sys.version_info))"
)
OFFLINE = {"PATH": "/usr/bin:/bin", "UV_DEFAULT_INDEX": "http://127.0.0.1:9", "PIP_INDEX_URL": "http://127.0.0.1:9"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose path has spaces, with an environment in order that holds nothing."""
    root = tmp_path / "a clone"
    (root / "deploy" / "local").mkdir(parents=True)
    shutil.copy(SCRIPT, root / "deploy" / "local")
    for name in ("requirements-dev.txt", "requirements-uv.txt"):
        (root / name).write_text("# nothing\n")
    venv.create(root / ".venv", symlinks=True)
    subprocess.run([sys.executable, "-c", STAMP, str(root / "deploy" / "local")], check=True)
    return root


def ask(clone: Path, expression: str) -> str:
    """The value of an expression inside the script of this clone."""
    code = f"import sys; sys.path[0] = sys.argv[1]; import bootstrap as b; print({expression})"
    command = [sys.executable, "-c", code, str(clone / "deploy" / "local")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def start(clone: Path) -> subprocess.CompletedProcess[str]:
    """Run the script offline."""
    return subprocess.run(
        [sys.executable, str(clone / "deploy" / "local" / "bootstrap.py"), "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=False,
        env={**OFFLINE, "PIP_RETRIES": "0"},
    )


def test_an_environment_in_order_is_used_as_it_is(clone: Path) -> None:
    """Nothing is installed and nothing is said; the program runs in `.venv`."""
    done = start(clone)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(clone.resolve() / ".venv"), "")


@pytest.mark.parametrize("damage", ["lock", "interpreter", "moved", "interrupted"])
def test_a_stale_environment_is_told_from_one_in_order(clone: Path, damage: str) -> None:
    """Another lock file, a broken interpreter, another place or an unfinished installation mean a new one."""
    assert ask(clone, "b.is_current()") == "True"
    if damage == "lock":
        (clone / "requirements-dev.txt").write_text("# something\n")
    elif damage == "interpreter":
        (clone / ".venv" / "bin" / "python").unlink()
        (clone / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    elif damage == "moved":
        clone = clone.rename(clone.with_name("moved"))
    else:
        (clone / ".venv" / ".installed").unlink()
    assert ask(clone, "b.is_current()") == "False"
    assert ask(clone, "b.is_repairable()") == str(damage in {"lock", "interrupted"})


def test_without_a_network_it_says_what_failed(clone: Path) -> None:
    """Exit 1, the command or the address that failed, what to check, and no stamp that would hide it."""
    (clone / "requirements-uv.txt").write_text("uv==0.0.1 --hash=sha256:00\n")
    done = start(clone)
    assert (done.returncode, done.stdout) == (1, "")
    assert "could not fetch uv from http://127.0.0.1:9/uv/" in done.stderr
    assert "Check the network" in done.stderr
    assert not (clone / ".venv" / ".installed").exists()


def test_an_unfitting_python_is_named(clone: Path) -> None:
    """The versions that fit are 3.11 to 3.13."""
    assert ask(clone, "[b.fits(v) for v in ((3, 10), (3, 11), (3, 13, 9), (3, 14))]") == "[False, True, True, False]"
