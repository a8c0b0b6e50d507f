"""Mocks in processes of their own, forked from one that has imported everything: they start in some 20 ms.

Reads a line of JSON, options of `running`, for each mock; answers with its process id and port.
"""

import json
import os
import sys
import threading

import redis  # noqa: F401 # imported now, for all of them

from mock_server import app  # noqa: F401 # the same
from mock_server.serve import running


def main() -> None:
    for line in sys.stdin:
        if os.fork() == 0:
            with running(**json.loads(line)) as mock:
                print(json.dumps([os.getpid(), mock.base_url]), flush=True)
                threading.Event().wait()


if __name__ == "__main__":
    main()
