"""Send signed cancels as fast as replies come: `load.py BASE_URL SECONDS CONNECTIONS` prints requests per second.

Plain sockets, because an HTTP client would cost more than the server. Each connection has a key of its own.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from urllib.parse import urlsplit

from tn_contract.contract.nonce import NonceSource
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import compose


def drive(address: tuple[str, int], key: str, secret: str, until: float, counts: list[int]) -> None:
    credentials, nonces, count = Credentials(key, Secret(secret)), NonceSource(), 0
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.perf_counter() < until:
            request = compose(credentials, "delTradeOrder", nonces.next(), {"order_id": 2929292929}).request
            head = f"POST {request.path} HTTP/1.1\r\nHost: mock\r\nContent-Length: {len(request.body)}\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in request.headers)
            connection.sendall(head.encode() + b"\r\n" + request.body)
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            header, _, body = received.partition(b"\r\n\r\n")
            lines = header.lower().split(b"\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            while len(body) < length:
                body += connection.recv(65536)
            if b'"order_id" : 2929292929' not in body:
                sys.exit(f"refused: {body!r}")
            count += 1
    counts.append(count)


def main() -> None:
    parts, seconds, connections = urlsplit(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    counts: list[int] = []
    started = time.perf_counter()
    until = started + seconds
    address = (str(parts.hostname), int(parts.port or 80))
    threads = [
        threading.Thread(target=drive, args=(address, f"load-{number}", "load-secret", until, counts))
        for number in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(counts) != connections:
        sys.exit("a connection was refused")
    print(sum(counts) / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
