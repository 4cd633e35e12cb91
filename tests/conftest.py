"""What all tests share."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# The first example compiles kernels, and a busy machine makes any slow: no limit of time says anything.
settings.register_profile("pghot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pghot")

# A background job of a shell ignores SIGINT, and so would the recorders and programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
