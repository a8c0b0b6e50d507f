"""Settings for every test: how hard hypothesis looks, and that Ctrl-C reaches the programs under test."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("tn-dev", max_examples=50, deadline=None)
settings.register_profile("tn-ci", parent=settings.get_profile("ci"), deadline=None)
settings.load_profile("tn-ci" if os.environ.get("CI") else "tn-dev")

# A job started in the background ignores interrupts, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
