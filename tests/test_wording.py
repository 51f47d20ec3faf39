"""Docstrings and messages use plain, direct English: words of this list have a plainer one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from project import ROOT

# word -> what to write
PLAINER = {
    r"says?|said|tells?|told|speaks? of": "report, print, show, state, name",
    r"refuses?|refused": "raise, reject, must be",
    r"mends?|mended": "correct, repair",
    r"lies|lay|lie": "is, stands, is placed",
    r"heeds?|heeded": "use, respect",
    r"hastens?": "speed up",
    r"besides?": "next to, also",
    r"whatever|nobody": "any, no one",
    r"costs? nothing|free of charge": "is free, is ignored",
    r"looks?|looked": "rescore, inspect, appear",
}
WORDS = re.compile(rf"\b({'|'.join(PLAINER)})\b", re.IGNORECASE)
ALLOWED_PER_10_000 = 5


def docstrings(path: Path) -> Iterator[str]:
    """Yield every docstring of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text


def test_docstrings_use_plain_words() -> None:
    n_words = 0
    found: list[str] = []
    for path in sorted((ROOT / "src/windhover").rglob("*.py")):
        for text in docstrings(path):
            n_words += len(text.split())
            found += [f"{path.name}: {match.group()}" for match in WORDS.finditer(text)]
    assert len(found) <= n_words * ALLOWED_PER_10_000 / 10_000, found
