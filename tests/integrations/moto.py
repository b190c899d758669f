"""S3 and SQS on a real local socket."""

from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

KEY, SECRET = "test-key", "test-secret"


@contextmanager
def moto_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
