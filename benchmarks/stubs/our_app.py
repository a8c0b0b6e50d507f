"""The WSGI app, for servers other than ours: Flask, with the API's door in front of it."""

from mock_server import create_app
from mock_server.broker import Broker

KEYS = 1024  # as `ours.py` has them, and `signed.lua`

broker = Broker()
for number in range(KEYS):
    broker.open_session(f"load-{number}", f"load-secret-{number}")
app = create_app(broker, control=False)
