"""The mock with the keys that `stubs/signed.lua` signs with: `ours.py PORT [bare | SCENARIO]`.

`bare` serves the broker alone, without access log and control plane: what those cost is the difference.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from pathlib import Path

from mock_server.broker import Broker
from mock_server.connection import Connection
from mock_server.scenario import read_scenario
from mock_server.serve import listen, run_until_stopped
from mock_server.server import Server

KEYS = 1024


def bare(broker: Broker, listening: socket.socket) -> Server:
    """Serve what the broker does as a plain callable."""
    server = Server(broker.handle)
    server.add_door(listening, lambda: Connection(server))
    return server


def main() -> None:
    broker = Broker()
    for number in range(KEYS):
        broker.open_session(f"load-{number}", f"load-secret-{number}")
    if sys.argv[2:] == ["bare"]:
        server = bare(broker, socket.create_server(("127.0.0.1", int(sys.argv[1]))))
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
