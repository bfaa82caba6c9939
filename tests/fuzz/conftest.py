"""How long the fuzz tests look: a few hundred inputs each, or AMQPD_FUZZ_EXAMPLES of them.

The short run is the same one each time, so that `make check` is; a long run draws new inputs and prints the line that
repeats what it found. Nothing is kept between runs: a found input becomes an @example.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_EXAMPLES = int(os.environ.get("AMQPD_FUZZ_EXAMPLES", "0"))

settings.register_profile(
    "amqpd",
    max_examples=_EXAMPLES if _EXAMPLES > 0 else 300,
    derandomize=_EXAMPLES == 0,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("amqpd")
