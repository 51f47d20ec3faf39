"""Memory that blocks leave behind goes back to the system: often enough, and not after each."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from windhover.inference import block_search


@pytest.mark.skipif(sys.platform != "linux", reason="only there the C library returns memory")
def test_memory_is_returned_after_a_large_block_or_many_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    returned: list[int] = []
    library = SimpleNamespace(malloc_trim=returned.append)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    memory: Any = block_search._FreedMemory()
    small_px = block_search.RETURN_PX // 4
    for number in range(1, 13):
        memory.add(small_px)
        assert len(returned) == number // 4
    memory.add(block_search.RETURN_PX)
    assert len(returned) == 4
