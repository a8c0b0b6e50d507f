"""The mock with the keys that `stubs/signed.lua` signs with: `ours.py PORT [bare | SCENARIO]`.

`bare` serves the same work as a plain callable, without the door and without Flask: what those cost is the difference.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mock_server.broker import Broker
from mock_server.scenario import read_scenario
from mock_server.serve import listen, run_until_stopped
from mock_server.wsgi import Server
from tn_contract.wire import Request

KEYS = 1024


def bare_application(broker: Broker) -> Callable[..., list[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = (
            ("Content-Type", environ.get("CONTENT_TYPE", "")),
            ("X-NtApi-Sig", environ.get("HTTP_X_NTAPI_SIG", "")),
        )
        reply = broker.handle(Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], headers, body)).reply
        start_response(f"{reply.status} OK", [*reply.headers, ("Content-Length", str(len(reply.body)))])
        return [reply.body]

    return application


def main() -> None:
    broker = Broker()
    for number in range(KEYS):
        broker.open_session(f"load-{number}", f"load-secret-{number}")
    if sys.argv[2:] == ["bare"]:
        server = Server(bare_application(broker), socket.create_server(("127.0.0.1", int(sys.argv[1]))))
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.stop).start())
        server.serve()
    else:
        if sys.argv[2:]:
            broker.scenario = read_scenario(Path(sys.argv[2]), broker.corpus)
        run_until_stopped(listen(broker, port=int(sys.argv[1])))
    # What was refused would have been less work.
    print(json.dumps({situation: count for (_, situation), count in broker.counts.items()}))


if __name__ == "__main__":
    main()
