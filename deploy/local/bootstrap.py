"""Makes `.venv` what the lock files say, then becomes its Python: `python3 deploy/local/bootstrap.py -m pytest`.

Runs on whatever Python the machine has, before anything is installed: standard library only, and a syntax that an old
Python still reads, because it must be able to say that it is too old. Safe to run at the same time from several
terminals; an interrupted installation is repaired by the next start.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".installed"
LOCKS = (ROOT / "requirements-dev.txt", ROOT / "requirements-uv.txt")
OLDEST, TOO_NEW = (3, 11), (3, 14)
INDEX = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"


class BootstrapError(Exception):
    """The environment can't be made; the text says which command failed."""


class PythonError(BootstrapError):
    """No Python here fits; the text says which one was found and how to name another."""


def say(text: str) -> None:
    """A line of progress, in the form of the supervisor's log; on stderr, so that a program's output stays its own."""
    print("install   | " + text, file=sys.stderr, flush=True)


def fits(version: tuple[int, ...]) -> bool:
    """Whether the locked packages support this Python."""
    return OLDEST <= version[:2] < TOO_NEW


def version_of(python: str) -> tuple[int, ...]:
    """The version of an interpreter, () when it does not run."""
    try:
        script = "import sys; print(*sys.version_info[:3])"
        told = subprocess.run(
            [python, "-I", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=False
        )
        return tuple(int(part) for part in told.stdout.split()) if told.returncode == 0 else ()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ()


def fitting_python() -> str:
    """This interpreter, or a newer one on PATH. Raises PythonError."""
    own = getattr(sys, "_base_executable", None) or sys.executable  # not the one of a .venv about to be replaced
    if fits(sys.version_info[:2]):
        return own
    for name in ("python3.13", "python3.12", "python3.11"):
        found = shutil.which(name)
        if found and fits(version_of(found)):
            return found
    raise PythonError(
        f"Frontdesk needs Python 3.11, 3.12 or 3.13; this is {platform.python_version()} ({sys.executable}) and PATH "
        "has no other. Install one and name it: PYTHON=/path/to/python3.13 make run"
    )


def fingerprint(version: tuple[int, ...]) -> str:
    """What an environment in order carries in its stamp: the lock files, its Python, its place (scripts name it)."""
    digest = hashlib.sha256()
    for path in LOCKS:
        digest.update(path.read_bytes())
    return "\n".join((digest.hexdigest(), ".".join(map(str, version[:2])), str(VENV), ""))


def is_current() -> bool:
    """Whether `.venv` is exactly what the lock files ask for."""
    try:
        installed = STAMP.read_text(encoding="utf-8")
    except OSError:
        return False
    version = version_of(str(PYTHON))
    return fits(version) and installed == fingerprint(version)


def is_repairable() -> bool:
    """Whether `.venv` runs and was made at this place: packages are then synchronized instead of installed anew."""
    try:
        lines = (VENV / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    made_here = any(line.startswith("command = ") and line.endswith(f" {VENV}") for line in lines)
    return made_here and fits(version_of(str(PYTHON)))


def run(*command: str) -> None:
    """Run one command of the installation, its output shown. Raises BootstrapError naming it."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0", "VIRTUAL_ENV": str(VENV)}
    for name in ("PYTHONHOME", "PYTHONPATH"):
        environment.pop(name, None)
    try:
        subprocess.run(command, check=True, cwd=str(ROOT), env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        shown = " ".join(repr(part) if " " in part else part for part in command)
        why = f"exit code {error.returncode}" if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise BootstrapError(f"this command failed ({why}): {shown}") from error


def install() -> None:
    """Bring `.venv` to the state of the lock files. Raises BootstrapError."""
    began = time.monotonic()
    if STAMP.exists():
        STAMP.unlink()
    if not is_repairable():
        python = fitting_python()
        shutil.rmtree(str(VENV), ignore_errors=True)
        say("making .venv with Python " + ".".join(map(str, version_of(python))))
        without = [] if importlib.util.find_spec("ensurepip") else ["--without-pip"]
        run(python, "-I", "-m", "venv", *without, str(VENV))
    say("installing the locked packages (a minute at first, seconds later)")
    files = [path.name for path in LOCKS]
    with tempfile.TemporaryDirectory() as folder:
        try:
            # Compiled now: where Python may not write .pyc files, every start would compile everything anew.
            how = ("--quiet", "--compile-bytecode", "--require-hashes")
            run(uv(Path(folder)), "pip", "sync", "--python", str(PYTHON), *how, *files)
        except BootstrapError as error:
            if not has_pip():
                raise
            say(f"{error}; trying pip")
            pip("install", "--require-hashes", *(part for name in files for part in ("-r", name)))
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(fingerprint(version_of(str(PYTHON))), encoding="utf-8")
    fresh.replace(STAMP)
    say(f"done in {time.monotonic() - began:.0f} s")


def has_pip() -> bool:
    """Whether `.venv` has pip: Debian's Python comes without, unless python3-venv is installed."""
    asked = subprocess.run([str(PYTHON), "-I", "-c", "import pip"], stderr=subprocess.DEVNULL, check=False)
    return asked.returncode == 0


def pip(*arguments: str) -> None:
    """Run the pip of `.venv`. Raises BootstrapError."""
    run(str(PYTHON), "-I", "-m", "pip", "--quiet", "--no-input", "--retries", "2", *arguments)


def uv(folder: Path) -> str:
    """The locked uv: the one in `.venv`, put there by pip, or unpacked into `folder`. Raises BootstrapError."""
    program = VENV / "bin" / "uv"
    if not has_pip():
        return unpack_uv(folder)
    pip("install", "--require-hashes", "-r", LOCKS[1].name)
    return str(program)


def fetch(url: str, *, accept: str = "*/*") -> bytes:
    """The body behind an address of the index; raises OSError. What comes back is trusted by its hash alone."""
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310 - an index may be a file, too
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        body: bytes = answer.read()
    return body


def unpack_uv(folder: Path) -> str:
    """Fetch the wheel of uv without pip, checked against the same hashes. Raises BootstrapError."""
    locked = LOCKS[1].read_text(encoding="utf-8")
    machine = {"amd64": "x86_64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
    machines = ("arm64", "aarch64") if machine == "arm64" else (machine,)
    system = "macosx" if sys.platform == "darwin" else "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    page = INDEX.rstrip("/") + "/uv/"
    try:
        for file in json.loads(fetch(page, accept="application/vnd.pypi.simple.v1+json"))["files"]:
            name, digest = file["filename"], file["hashes"].get("sha256", "-")
            if f"sha256:{digest}" in locked and system in name and name.endswith(tuple(m + ".whl" for m in machines)):
                wheel = fetch(file["url"])
                break
        else:
            raise BootstrapError(f"{page} has no locked uv for {system} on {machine}")
    except (OSError, ValueError, KeyError) as error:
        raise BootstrapError(f"could not fetch uv from {page}: {error}") from error
    if hashlib.sha256(wheel).hexdigest() != digest:
        raise BootstrapError(f"{name} is not the file that requirements-uv.txt names")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next(entry for entry in archive.namelist() if entry.endswith(".data/scripts/uv"))
        program = folder / "uv"
        program.write_bytes(archive.read(member))
    program.chmod(0o755)
    return str(program)


def main(arguments: list[str]) -> None:
    """Install if needed, one process at a time, and become the Python of `.venv`."""
    try:
        if not is_current():
            if not fits(sys.version_info[:2]):
                python = fitting_python()
                os.execv(python, [python, __file__, *arguments])  # noqa: S606 - no shell is meant
            with Path(__file__).open("rb") as lock:  # this file, so that no other has to be left lying about
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    say("waiting for another installation of this clone")
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if not is_current():
                    install()
    except BootstrapError as error:
        for line in str(error).splitlines():
            say(line)
        if not isinstance(error, PythonError):
            say("Check the network, a proxy (HTTPS_PROXY), certificates (SSL_CERT_FILE), free disk space; then repeat:")
            say("what was downloaded is kept, and the next start repairs the rest.")
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted; the next start repairs it")
        sys.exit(130)
    os.chdir(str(ROOT))
    os.execv(str(PYTHON), [str(PYTHON), *arguments])  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main(sys.argv[1:])
