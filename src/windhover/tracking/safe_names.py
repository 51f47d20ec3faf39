"""Names of metrics and parameters that MLflow accepts, for names that hold class names.

Pages and files keep the real names; two names never become one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

REFUSED_CHARS = re.compile(r"[^/\w.\- ]")  # MLflow takes letters, digits and / _ - . blank
MAX_CHARS = 240  # MLflow takes 250
DIGEST_CHARS = 6


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Return name -> name that MLflow accepts; accepted ones stay as they are."""
    names = list(names)
    safe = {name: _safe_name(name) for name in names}
    taken = {name for name in names if safe[name] == name}
    for name in names:
        if safe[name] == name:
            continue
        if safe[name] in taken:
            digest = hashlib.sha256(name.encode()).hexdigest()[:DIGEST_CHARS]
            safe[name] = f"{safe[name]}-{digest}"
        taken.add(safe[name])
    return safe


def _safe_name(name: str) -> str:
    parts = []
    for part in REFUSED_CHARS.sub("_", name).split("/"):
        if part and part.strip("."):
            parts.append(part)
        elif part:
            parts.append("_" * len(part))  # `.` and `..` lead elsewhere
    return "/".join(parts)[:MAX_CHARS].rstrip("/") or "_"
