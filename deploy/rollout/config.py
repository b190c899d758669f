"""How generations are run on this host: a TOML file, such as compose.toml or processes.toml."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.rollout.errors import RolloutError

SLOTS = ("blue", "green")
COMMANDS = ("check", "migrate", "run", "start", "logs", "stop")


@dataclass(frozen=True)
class Slot:
    """Where one of the two generations is: `api` as this machine reaches it, `upstream` as Traefik does."""

    api: str
    upstream: str
    ready: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Seconds:
    """`watch`: how long the new one is looked at behind the proxy; `settle`: how long the old one is left alone."""

    ready: float = 90
    command: float = 900
    switch: float = 30
    watch: float = 10
    settle: float = 2


@dataclass(frozen=True)
class Config:
    """Paths are below `root`; `host` is the name that all questions are asked with."""

    root: Path
    state: Path
    servers: Path
    proxy: str
    host: str
    slots: Mapping[str, Slot]
    commands: Mapping[str, Sequence[str]]
    environment: Mapping[str, str]
    smoke: Mapping[str, int]
    seconds: Seconds

    def argv(self, command: str, *, slot: str, release: str) -> list[str]:
        known = {"slot": slot, "release": release, "state": self.state, "python": sys.executable}
        return [word.format(**known) for word in self.commands[command]]

    def env(self, *, slot: str, release: str) -> dict[str, str]:
        given = {**self.environment, **self.slots[slot].environment}
        made = {name: value.format(slot=slot, release=release) for name, value in given.items()}
        return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **made}


def read(path: Path, root: Path) -> Config:
    """RolloutError naming the first thing that is wrong in the file."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RolloutError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise RolloutError(f"{path}: {error}") from error
    try:
        return _made(values, root)
    except (KeyError, TypeError, AttributeError) as error:
        raise RolloutError(f"{path}: is missing, or has in the wrong form: {error}") from error


def _made(values: dict[str, Any], root: Path) -> Config:
    slots = {name: _slot(values["slots"][name]) for name in SLOTS}
    commands = {name: tuple(values["commands"][name]) for name in COMMANDS}
    return Config(
        root=root,
        state=root / values["state"],
        servers=root / values["proxy"]["servers"],
        proxy=values["proxy"]["address"],
        host=values["proxy"].get("host") or setting("PUBLIC_HOST", root),
        slots=slots,
        commands=commands,
        environment=dict(values.get("environment", {})),
        smoke={path: int(status) for path, status in values["smoke"].items()},
        seconds=Seconds(**{name: float(value) for name, value in values.get("seconds", {}).items()}),
    )


def _slot(values: dict[str, Any]) -> Slot:
    return Slot(values["api"], values["upstream"], tuple(values["ready"]), dict(values.get("environment", {})))


def setting(name: str, root: Path) -> str:
    """From the environment, or from `.env` as compose reads it. RolloutError when it is in neither."""
    found, file = os.environ.get(name, ""), root / ".env"
    if found:
        return found
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        key, _, value = line.strip().removeprefix("export ").partition("=")
        if key.strip() == name:
            found = _plain(value.strip())
            if "$" in found:
                raise RolloutError(f"{name}: write the value itself in {file}; only compose knows what {found} is")
    if not found:
        raise RolloutError(f"{name}: is not set, neither in the environment nor in {file}")
    return found


def _plain(value: str) -> str:
    """Without quotes, or without the comment behind it."""
    if value[:1] in {"'", '"'} and (end := value.find(value[0], 1)) > 0:
        return value[1:end]
    return value.split(" #", 1)[0].strip()
