"""A real Traefik with the files of deploy/traefik."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from deploy.rollout.proxy import text
from tests.processes.process import free_port

ROOT = Path(__file__).resolve().parents[2]
TRAEFIK = Path(sys.executable).with_name("traefik")
LOOPBACK = "127.0.0.1"


class Proxy:
    """Only ports, folders, the certificate's origin and the pause between two readings of the files are the test's."""

    def __init__(self, folder: Path) -> None:
        self.http, self.https = free_port(), free_port()
        dynamic = folder / "dynamic"
        dynamic.mkdir()
        self.servers = dynamic / "servers.yml"
        (dynamic / "api.yml").write_text((ROOT / "deploy/traefik/dynamic/api.yml").read_text())
        static = yaml.safe_load((ROOT / "deploy/traefik/traefik.yml").read_text())
        entry = static["entryPoints"]
        entry["web"]["address"], entry["websecure"]["address"] = f"{LOOPBACK}:{self.http}", f"{LOOPBACK}:{self.https}"
        entry["web"]["http"]["redirections"]["entryPoint"]["to"] = f":{self.https}"
        entry["ping"]["address"] = f"{LOOPBACK}:{free_port()}"
        # No authority is reachable from a test: Traefik's own certificate stands in.
        entry["websecure"]["http"]["tls"] = {}
        del static["certificatesResolvers"]
        static["providers"] = {"providersThrottleDuration": "100ms", "file": {"directory": str(dynamic), "watch": True}}
        (folder / "traefik.yml").write_text(yaml.safe_dump(static))
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [TRAEFIK, f"--configFile={folder / 'traefik.yml'}"],
                env={**os.environ, "PUBLIC_HOST": LOOPBACK},
                stdout=log,
                stderr=log,
            )

    def ask(self, *urls: str) -> None:
        """These servers, as if one generation had several."""
        line = "          - url: {}\n"
        one = text(("a-mark", "UPSTREAM"))
        self.servers.write_text(one.replace(line.format("UPSTREAM"), "".join(line.format(url) for url in urls)))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=40)
