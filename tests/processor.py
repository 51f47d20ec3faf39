"""What the processor of this machine cannot do: tests that need it skip, saying so."""

from __future__ import annotations

import pytest

from windhover.models.quantization import can_multiply_integers

integers = pytest.mark.skipif(
    not can_multiply_integers(), reason="this processor does not sum products of bytes"
)
