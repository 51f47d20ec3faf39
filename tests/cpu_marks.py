"""What the processor of this machine cannot do: tests that need it skip, saying so."""

from __future__ import annotations

import pytest

from windhover.models.quantization import has_int8_instructions

needs_int8 = pytest.mark.skipif(
    not has_int8_instructions(), reason="this processor does not sum products of bytes"
)
