import signal
import sys

from pytest_httpserver import HTTPServer

server = HTTPServer(host="127.0.0.1", port=int(sys.argv[1]))
server.expect_request("/api/v2/cmd/delTradeOrder", method="POST").respond_with_json({"order_id": 2929292929})
server.start()
signal.sigwait({signal.SIGTERM})
server.stop()
