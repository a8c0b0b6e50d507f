"""An in-process router for code that uses httpx: the broker without a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

try:
    import respx
except ImportError as error:
    raise ImportError("the in-process router needs respx: pip install 'tn-contract[respx]'") from error

from mock_server.broker import Broker
from tn_contract.contract.wire import Headers, Request, decoded_path

if TYPE_CHECKING:
    from mock_server.faults import Kind


# What httpx raises when a socket loses the reply; a late one needs a socket to be felt.
_LOST: dict[Kind, tuple[type[httpx.TransportError], str]] = {
    "silence": (httpx.ReadTimeout, "the mock stays silent"),
    "late": (httpx.ReadTimeout, "the mock answers late"),
    "stall-status": (httpx.ReadTimeout, "the mock stalls in the status line"),
    "stall-header": (httpx.ReadTimeout, "the mock stalls in the headers"),
    "stall-body": (httpx.ReadTimeout, "the mock stalls in the body"),
    "stall-chunk": (httpx.ReadTimeout, "the mock stalls before the last chunk"),
    "drop": (httpx.RemoteProtocolError, "the mock hung up without a reply"),
    "cut-off": (httpx.RemoteProtocolError, "the mock hung up in the middle of its reply"),
    "wrong-length": (httpx.RemoteProtocolError, "the mock promised more than it sent"),
    "garbage": (httpx.RemoteProtocolError, "the mock sent what is no HTTP"),
    "reset": (httpx.ReadError, "the mock reset the connection"),
}


def mock_router(broker: Broker | None = None, base_url: str = "https://tradernet.com") -> respx.Router:
    """Return a respx router that answers every request below `base_url` as `broker` (by default a new one) does.

    Use it as a context manager (`with mock_router(): …`); nothing leaves the process.
    """
    mock = broker or Broker()

    def answer(request: httpx.Request) -> httpx.Response:
        path, _, query = request.url.raw_path.partition(b"?")
        answered = mock.handle(
            Request(
                request.method,
                decoded_path(path),
                _headers(request),
                request.read(),
                query.decode("latin-1"),
            )
        )
        if answered.fault and answered.fault.loses_reply:
            error, told = _LOST[answered.fault.kind]
            raise error(told, request=request)
        reply = answered.reply
        body = b"" if request.method == "HEAD" else reply.body
        return respx.MockResponse(reply.status, headers=list(reply.headers), content=body)

    router = respx.mock(base_url=base_url, assert_all_called=False)
    router.route().mock(side_effect=answer)
    return router


def _headers(request: httpx.Request) -> Headers:
    """Read headers as they arrive over a socket: see `mock_server.serve`."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in request.headers.raw:
        name, value = raw_name.decode("latin-1").title(), raw_value.strip().decode("latin-1")
        if "_" not in name:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return tuple(joined.items())
