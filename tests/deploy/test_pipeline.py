"""The scripts that the workflows call, run as the workflows run them."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# What ssh does with its words, but for the way: options go, the rest is one line for a shell in the home of the user.
SSH = """#!/bin/sh
while [ "$1" != "--" ]; do shift; done
test "$2" = deploy@host || exit 255
shift 2
cd "$HOME" && exec sh -c "$*"
"""


def workflows() -> dict[str, Any]:
    return {file.name: yaml.safe_load(file.read_text()) for file in (ROOT / ".github/workflows").glob("*.yml")}


def test_actions_are_pinned_and_jobs_have_the_least_rights() -> None:
    """Every action is named by a commit, its version beside it; a workflow has no rights, and a job only its own."""
    for name, workflow in workflows().items():
        assert workflow["permissions"] == {}, name
        for job in workflow["jobs"].values():
            assert job["permissions"], name
        for line in (ROOT / ".github/workflows" / name).read_text().splitlines():
            if "uses:" in line:
                assert re.search(r"uses: (\$/\.github/|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$)", line), line


def test_whatever_a_workflow_calls_is_there() -> None:
    """Scripts of ours that are named in a step exist and may be run."""
    called = {word for text in re.findall(r"deploy/\w+/\w+|\.ci/run", str(workflows())) for word in [text]}
    assert {"deploy/ci/old_code_new_schema", "deploy/ci/release_notes", "deploy/rollout/over_ssh", ".ci/run"} <= called
    for script in called:
        assert os.access(ROOT / script, os.X_OK), script


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A tree of version 1.2.3 with two sections in its changelog."""
    for folder in ("deploy/ci", "app"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "deploy/ci/release_notes", tmp_path / "deploy/ci")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (tmp_path / "app/__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# C\n\n## [1.2.3] - 2026-01-02\n\n- new\n\n## [1.2.2] - 2025-01-02\n\n- old\n"
    )
    return tmp_path


def notes(release: Path, tag: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([release / "deploy/ci/release_notes", tag], capture_output=True, text=True, check=False)


def test_the_notes_of_a_release_are_its_section(release: Path) -> None:
    """The section of that version and nothing else."""
    assert notes(release, "v1.2.3").stdout.strip() == "- new"


def test_a_tag_that_is_not_the_version_is_refused(release: Path) -> None:
    """Neither another version nor a section without a date becomes a release."""
    assert "does not have the version 1.2.4" in notes(release, "v1.2.4").stderr
    changelog = release / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("2026-01-02", "unreleased"))
    refused = notes(release, "v1.2.3")
    assert (refused.returncode, "has no section" in refused.stderr) == (1, True)


def test_a_deployment_over_ssh_brings_its_files_and_its_exit_code(tmp_path: Path) -> None:
    """The host has compose file, routes and rollout afterwards, and keeps its servers.yml; what the rollout says and
    ends with comes back. An image's name is one word, whatever is in it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text(SSH)
    (tmp_path / "bin/ssh").chmod(0o755)
    home = tmp_path / "home"
    servers = home / "a folder/deploy/traefik/dynamic/servers.yml"
    servers.parent.mkdir(parents=True)
    servers.write_text("ours")

    def over_ssh(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        environment = {"PATH": path, "HOME": str(home), "PUBLIC_HOST": "clinic.example.org"}
        command = [str(ROOT / "deploy/rollout/over_ssh"), "deploy@host", "a folder", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    # The host has no Docker that knows this image: the rollout begins, and says so.
    done = over_ssh("deploy", "no image; touch x")
    assert done.returncode == 1, done.stderr
    assert "rollout: check" in done.stderr
    assert not (home / "a folder/x").exists()
    assert servers.read_text() == "ours"
    mounted = re.findall(r"\./(deploy/[\w./-]+):", (ROOT / "docker-compose.yml").read_text())
    assert len(mounted) > 2
    for name in ("docker-compose.yml", "deploy/rollout/compose.toml", *mounted):
        there = home / "a folder" / name
        assert there.is_dir() if (ROOT / name).is_dir() else there.read_bytes() == (ROOT / name).read_bytes(), name
    assert not (home / "a folder/.incoming").exists()
    assert "serves: nothing" in over_ssh("status").stdout
    assert over_ssh("deploy").returncode == over_ssh("destroy").returncode == 2
