"""Settings for every test: how hard hypothesis looks."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("tn-dev", max_examples=50, deadline=None)
settings.register_profile("tn-ci", parent=settings.get_profile("ci"), deadline=None)
settings.load_profile("tn-ci" if os.environ.get("CI") else "tn-dev")
