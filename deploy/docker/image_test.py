"""Builds the image and runs it as production would: read-only, without root, all roles, one SIGTERM each.

`python -m deploy.docker.image_test` (`make image-test`), with whichever of docker and podman is there; says so and
passes when neither is. The engines are those of `make run`, in a state directory of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

from deploy.local.engines import PostgresEngine, ValkeyEngine

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "frontdesk:image-test"
PORTS = {"api": 18000, "worker": 19000, "celery": 20000}
# Python's own image has 122 MB (python:3.13-slim for amd64, unpacked); with it ours stays below 250.
OWN_LAYERS = 127 * 1000 * 1000
# The one library that has its source beside its byte code (compile.py).
READ_THEIR_SOURCE = "anyio"
FORBIDDEN = ("gcc", "cc", "make", "uv", "pytest", "ruff", "mypy", "psql", "git", "curl")
# Byte code beside a source is looked for here, and so made anew: what is found here has a source in the image.
FROM_SOURCE = "/scratch/from-source"
FORM = "application/x-www-form-urlencoded"
PRODUCTION = {
    "AUTH_SECRET_KEY": "an-image-test-needs-a-secret-of-its-own-0123456789",
    "FIRST_SUPERADMIN_PASSWORD": "image test superadmin",
    "API_ALLOWED_HOSTS": "clinic.example.org",
    "PUBLIC_URL": "https://clinic.example.org",
    "MAIL_BACKEND": "smtp",
    "MAIL_HOST": "127.0.0.1",
    "MAIL_SENDER": "The clinic <desk@clinic.example.org>",
    "PAYMENTS_WEBHOOK_SECRETS": "whsec_aW1hZ2UtdGVzdC1wYXltZW50cy1zZWNyZXQtMDEyMzQ=",
    "MARKETPLACE_WEBHOOK_SECRETS": "image-test-marketplace-secret-0123456789",
    "PAYMENTS_API_KEY": "image-test-payments-key",
    "MARKETPLACE_API_KEY": "image-test-marketplace-key",
    "PAYMENTS_URL": "https://payments.example.org",
    "MARKETPLACE_URL": "https://marketplace.example.org",
    "HOST": "127.0.0.1",
    "PORT": str(PORTS["api"]),
    "WORKER_METRICS_PORT": str(PORTS["worker"]),
    "CELERY_METRICS_PORT": str(PORTS["celery"]),
}


@dataclass(frozen=True)
class Tool:
    """docker or podman; `CONTAINER_TOOL_ARGS` holds more words for it, `CONTAINER_RUN_ARGS` for its build and run."""

    name: str

    def __call__(self, command: str, *arguments: str, check: bool = True) -> str:
        own = os.environ.get("CONTAINER_TOOL_ARGS", "").split()
        more = os.environ.get("CONTAINER_RUN_ARGS", "").split() if command in {"run", "build"} else []
        done = subprocess.run(
            [self.name, *own, command, *more, *arguments], check=False, capture_output=True, text=True, cwd=ROOT
        )
        if check and done.returncode:
            raise SystemExit(f"image-test: {self.name} {command} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def logs(self, name: str) -> str:
        """The end of what a container has said; its standard error comes on ours."""
        done = subprocess.run([self.name, "logs", name], check=False, capture_output=True, text=True)
        return (done.stdout + done.stderr)[-3000:]


def find_tool() -> Tool | None:
    """The first of docker and podman that has an engine behind it."""
    for name in ("docker", "podman"):
        if shutil.which(name):
            works = subprocess.run([name, "info"], check=False, capture_output=True)
            if works.returncode == 0:
                return Tool(name)
    return None


def inspect(tool: Tool, base_size: int) -> None:
    """What the image is made of: size, user, labels, and what must not be in it."""
    facts = json.loads(tool("image", "inspect", IMAGE))[0]
    own = facts["Size"] - base_size
    say(f"layers of our own: {own / 1e6:.0f} MB on a base of {base_size / 1e6:.0f} MB")
    expect(own <= OWN_LAYERS, f"the layers of our own are larger than {OWN_LAYERS / 1e6:.0f} MB")
    expect(facts["Config"]["User"] == "10001:10001", "it does not run as the user 10001")
    expect("org.opencontainers.image.version" in facts["Config"]["Labels"], "it has no labels")
    look = "; ".join(f"command -v {name} && echo found" for name in FORBIDDEN)
    found = tool("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", f"{look}; true")
    expect("found" not in found, f"it has tools that do not belong in it: {found.split()}")
    # Nobody listens there: a library without TLS refuses the word before it looks.
    dump = (
        'PGSSLMODE=verify-full PGSSLROOTCERT=/dev/null "$BACKUP_PROGRAMS/pg_dump" --host=127.0.0.1 --port=1 2>&1; true'
    )
    said = tool("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", dump)
    expect("Connection refused" in said, f"its pg_dump does not know TLS: {said}")
    writable = tool("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", "touch /srv/frontdesk/x && echo writable; true")
    expect("writable" not in writable, "its user may change the program")


def work(tool: Tool) -> None:
    """Documents, photos, and the clients of all partners, with the network of the container alone."""
    script = Path(__file__).with_name("inside.py")
    # The folder for metrics is made by the roles; this is none.
    without = ("env", IMAGE, "-u", "PROMETHEUS_MULTIPROC_DIR", "PYTHONPATH=/srv/frontdesk", "python", "/inside.py")
    mounted = f"--volume={script}:/inside.py:ro"
    said = tool("run", "--rm", "--read-only", "--tmpfs=/scratch:rw,size=64m", mounted, "--entrypoint", *without)
    say(said.splitlines()[-1])


def without_byte_code(tool: Tool, name: str) -> list[str]:
    """The modules of libraries that a running container has compiled for itself, as it has its program."""
    found = tool("exec", name, "find", FROM_SOURCE, "-name", "*.pyc").split()
    expect(any("/srv/frontdesk/app/" in file for file in found), f"{name} does not show what it loads from source")
    modules = [file.split("/site-packages/")[1] for file in found if "/site-packages/" in file]
    return sorted(module for module in modules if not module.startswith(f"{READ_THEIR_SOURCE}/"))


def serve(tool: Tool, state: Path, sockets: Path, environment: dict[str, str]) -> None:
    """Migrate, seed, then every role with a read-only root file system, answered, probed, and ended by SIGTERM."""
    backups = state / "backups"
    backups.mkdir()
    backups.chmod(0o777)
    values = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    common = [
        "--network=host",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--tmpfs=/scratch:rw,size=64m",
        f"--volume={sockets}:{sockets}",
        f"--volume={backups}:/backups",
        *values,
    ]
    for step in ("check", "migrate", "seed", "backup", "verify-backup"):
        tool("run", "--rm", *common, IMAGE, step)
        say(f"{step}: done")
    names = {role: f"frontdesk-image-test-{role}-{os.getpid()}" for role in PORTS}
    try:
        for role, name in names.items():
            source = ("--env=PYTHONDONTWRITEBYTECODE=", f"--env=PYTHONPYCACHEPREFIX={FROM_SOURCE}")
            tool("run", "--detach", "--name", name, *common, *source, IMAGE, role)
        for role, name in names.items():
            answers(tool, role, name)
            tool("exec", name, "python", "/usr/local/bin/healthcheck")
        say("api, worker and celery are ready, and their health checks pass")
        sign_in()
        for role, name in names.items():
            slow = without_byte_code(tool, name)
            expect(not slow, f"{role} has loaded what has no byte code in the image: {', '.join(slow)}")
        say("they have loaded nothing from source but their own program")
        for role, name in names.items():
            began = time.monotonic()
            tool("stop", "--time", "30", name)
            code = json.loads(tool("inspect", name))[0]["State"]["ExitCode"]
            took = time.monotonic() - began
            expect(code == 0, f"{role} ended with {code}:\n{tool.logs(name)}")
            expect(took < 25, f"{role} took {took:.0f} s to end")
        say("each ended by itself on SIGTERM")
    finally:
        for name in names.values():
            tool("rm", "--force", name, check=False)


def answers(tool: Tool, role: str, name: str) -> None:
    url = f"http://127.0.0.1:{PORTS[role]}/health/ready"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise SystemExit(f"image-test: {role} is not ready after 60 s:\n{tool.logs(name)}")


def sign_in() -> None:
    """The superadmin that `seed` made signs in, and reads who that is: hashing, keys, database."""
    form = {
        "grant_type": "password",
        "username": "admin@example.com",
        "password": PRODUCTION["FIRST_SUPERADMIN_PASSWORD"],
    }
    token = api("POST", "/auth/token", body=urlencode(form), **{"Content-Type": FORM})["access_token"]
    expect(api("GET", "/users/me", Authorization=f"Bearer {token}")["role"] == "superadmin", "it is somebody else")
    say("the superadmin has signed in")


def api(method: str, path: str, *, body: str | None = None, **headers: str) -> dict[str, str]:
    """The API's answer, which must be 200."""
    connection = HTTPConnection("127.0.0.1", PORTS["api"], timeout=10)
    try:
        connection.request(method, f"/api/v1{path}", body, {"Host": PRODUCTION["API_ALLOWED_HOSTS"], **headers})
        answer = connection.getresponse()
        said: dict[str, str] = json.load(answer)
        expect(answer.status == 200, f"{method} {path} is answered with {answer.status}: {said}")
        return said
    finally:
        connection.close()


def say(text: str) -> None:
    print(f"image-test: {text}", flush=True)


def expect(true: bool, otherwise: str) -> None:
    if not true:
        raise SystemExit(f"image-test: {otherwise}")


def main() -> int:
    tool = find_tool()
    if tool is None:
        say("neither docker nor podman works here: the image was not built")
        return 0
    began = time.monotonic()
    tool("build", *(["--format=docker"] if tool.name == "podman" else []), "--tag", IMAGE, ".")
    say(f"built by {tool.name} in {time.monotonic() - began:.0f} s")
    base = os.environ.get("PYTHON_IMAGE", "docker.io/library/python:3.13-slim")
    inspect(tool, int(json.loads(tool("image", "inspect", base))[0]["Size"]))
    with tempfile.TemporaryDirectory(prefix="frontdesk-image-") as folder:
        state = Path(folder)
        state.chmod(0o755)
        work(tool)
        postgres, valkey = PostgresEngine(state), ValkeyEngine(state)
        postgres.start()
        try:
            valkey.start()
            # The container's user is not the owner of the socket's directory; the password is what protects it here.
            postgres.sockets.chmod(0o755)
            serve(tool, state, postgres.sockets, {**PRODUCTION, "DATABASE_URL": postgres.url, "REDIS_URL": valkey.url})
        finally:
            valkey.stop()
            postgres.stop()
    say("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
