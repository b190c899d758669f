"""A real Traefik with the files of deploy/traefik."""

import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.rollout.proxy import text
from tests.ports import free_port
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]
TRAEFIK = Path(sys.executable).with_name("traefik")
LOOPBACK = "127.0.0.1"
ISSUED = "clinic.example.org"


def certificate(folder: Path) -> dict[str, str]:
    """A certificate for a name that no test asks for, as one that was issued lies beside Traefik's own."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUED)])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(datetime.now(UTC)).not_valid_after(datetime.now(UTC) + timedelta(days=80))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(ISSUED)]), critical=False)
    plain = serialization.NoEncryption()
    files = {
        "certFile": made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        "keyFile": key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain),
    }
    for file, content in files.items():
        (folder / f"{file}.pem").write_bytes(content)
    return {file: str(folder / f"{file}.pem") for file in files}


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
        self.metrics = free_port()
        entry["metrics"]["address"] = f"{LOOPBACK}:{self.metrics}"
        (dynamic / "tls.yml").write_text(yaml.safe_dump({"tls": {"certificates": [certificate(folder)]}}))
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

    async def answers(self, path: str, status: int) -> None:
        """Once it does, with this status."""

        async def as_it_should() -> bool:
            with suppress(httpx.TransportError):
                async with httpx.AsyncClient(verify=False) as client:
                    return (await client.get(f"https://{LOOPBACK}:{self.https}{path}")).status_code == status
            return False

        await eventually(as_it_should, seconds=30)

    def ask(self, *urls: str) -> None:
        """These servers, as if one generation had several."""
        line = "          - url: {}\n"
        one = text(("a-mark", "UPSTREAM"))
        self.servers.write_text(one.replace(line.format("UPSTREAM"), "".join(line.format(url) for url in urls)))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=40)
