"""The page's browser sample, completed (sample.html), in headless Chromium with the real jquery.

The sample goes to https://tradernet.com from another origin, with credentials: the tunnel in HTTPS_PROXY leads it to
the mock, and lets the browser reach nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATIENCE = 60  # seconds
FOLDER = Path(__file__).parent
GIVEN = {
    "apiKey": os.environ["TN_API_KEY"],
    "apiSecretKey": os.environ["TN_API_SECRET"],
    "orderIds": [int(order_id) for order_id in os.environ["TN_ORDER_IDS"].split(",")],
}
FILES = {
    "/": ("text/html", (FOLDER / "sample.html").read_bytes()),
    "/given.js": ("text/javascript", f"var given = {json.dumps(GIVEN)};".encode()),
    "/jquery.min.js": ("text/javascript", Path(sys.argv[1]).read_bytes()),
}
done = threading.Event()


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind, content = FILES.get(self.path, ("text/plain", b""))
        self._answer(200 if self.path in FILES else 404, kind, content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/report":
            print(body.decode(), flush=True)
        else:
            done.set()
        self._answer(200, "text/plain", b"")

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium is installed: apt-get install chromium")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium reads no file of authorities. Where there is one to trust, this stands for trusting it: the tunnel
        # leads to the mock alone.
        trust = ["--ignore-certificate-errors"] if "SSL_CERT_FILE" in os.environ else []
        browser = subprocess.Popen(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", f"--user-data-dir={profile}",
                f"--proxy-server={os.environ['HTTPS_PROXY']}", *trust,
                f"http://localhost:{server.server_port}/",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            in_time = done.wait(PATIENCE)
        finally:
            browser.terminate()  # it stays in this process's group, so that who ends that ends both
            browser.wait()
    if not in_time:
        sys.exit(f"the page did not come to an end within {PATIENCE} seconds")


if __name__ == "__main__":
    main()
