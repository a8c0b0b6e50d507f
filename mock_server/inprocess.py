"""An in-process router for code that uses httpx: the broker without a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import respx

from mock_server.broker import Broker
from tn_contract.wire import Request

if TYPE_CHECKING:
    from httpx import Request as HttpxRequest
    from httpx import Response


def mock_router(broker: Broker, base_url: str = "https://tradernet.com") -> respx.Router:
    """Return a respx router that answers every request below `base_url` as `broker` does.

    Use it as a context manager (`with mock_router(Broker()): …`); nothing leaves the process.
    """

    def answer(request: HttpxRequest) -> Response:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
        reply = broker.handle(Request(request.method, path, headers, request.read(), query)).reply
        return respx.MockResponse(reply.status, headers=list(reply.headers), content=reply.body)

    router = respx.mock(base_url=base_url, assert_all_called=False)
    router.route().mock(side_effect=answer)
    return router
