"""What a stage of dvc.yaml must depend on, read from its imports; `python tests/architecture.py
--write` mends dvc.yaml.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import grimp
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]


def import_closure(script: Path, graph: grimp.ImportGraph) -> list[str]:
    """Return the files of every library module that `script` reaches, as sorted paths relative to
    the root.
    """
    tree = ast.parse(script.read_text(encoding="utf-8"))
    named: set[str] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "windhover"
        ):
            named.add(node.module)
            named.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            named.update(
                alias.name for alias in node.names if alias.name.split(".")[0] == "windhover"
            )
    modules = {name for name in named if name in graph.modules}
    for name in list(modules):
        modules |= graph.find_upstream_modules(name)
    # importing a module runs the __init__ of each package above it
    for name in list(modules):
        parts = name.split(".")
        modules |= {".".join(parts[:depth]) for depth in range(1, len(parts))}
    return sorted(str(_file(name).relative_to(ROOT)) for name in modules)


def _file(module: str) -> Path:
    path = ROOT / "src" / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def build_graph() -> grimp.ImportGraph:
    """Return the import graph of the library, lazy imports inside functions included."""
    return grimp.build_graph("windhover", cache_dir=None)


def stage_script(stage: dict) -> Path:
    """Return the script that a stage's command runs."""
    return ROOT / stage["cmd"].split()[1]


def write() -> None:
    """Rewrite the `src/` lines of every stage's deps."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 160
    path = ROOT / "dvc.yaml"
    document = yaml.load(path.read_text(encoding="utf-8"))
    graph = build_graph()
    for stage in document["stages"].values():
        if stage_script(stage).is_file():
            stage["deps"] = [
                dep for dep in stage["deps"] if not dep.startswith("src/")
            ] + import_closure(stage_script(stage), graph)
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("python tests/architecture.py --write")
    write()
