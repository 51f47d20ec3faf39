"""What the processor of this machine cannot do: tests that need it skip, saying so."""

from __future__ import annotations

import pytest

from windhover.models.cpu_features import sums_bytes_exactly

needs_int8 = pytest.mark.skipif(
    not sums_bytes_exactly(), reason="this processor does not sum products of bytes"
)
