"""What the processor can do, asked without any runtime."""

from __future__ import annotations

import functools
from pathlib import Path

# without one of these instructions, sums of 8-bit products may overflow
INT8_INSTRUCTIONS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
CPU_INFO = Path("/proc/cpuinfo")


@functools.cache
def sums_bytes_exactly() -> bool:
    """Return whether the processor is known to sum products of 8-bit integers exactly.

    Only Linux lists them; elsewhere the answer is no.
    """
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip() == "flags":
            return not INT8_INSTRUCTIONS.isdisjoint(flags.split())
    return False
