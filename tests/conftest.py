"""What all tests share."""

from __future__ import annotations

import signal

from hypothesis import settings

# The first example compiles kernels: no time limit for one example says anything.
settings.register_profile("pghot", deadline=None)
settings.load_profile("pghot")

# A background job of a shell ignores SIGINT, and so would the recorders and programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
