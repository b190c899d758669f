"""What a release may be, in fifty lines: `python -m app api` that begins at once. Is copied into a release's `app/`."""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAULT = (Path(__file__).parent / "fault").read_text()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Everything is well, but for the fault of this release."""
        status = 401 if self.path.startswith("/api/v1/users/me") else 200
        if FAULT == "smoke" and self.path.startswith("/api/"):
            status = 500
        if FAULT == "proxied" and self.headers.get("X-Forwarded-For"):
            status = 500
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    if sys.argv[1] == FAULT:
        sys.exit(f"this release can't {FAULT}")
    if sys.argv[1] != "api":
        print("this release was asked for", *sys.argv[1:])
        return
    if FAULT == "sluggish":
        time.sleep(9)
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(0.05)
    server.server_close()
    time.sleep(0.2)


if __name__ == "__main__":
    main()
