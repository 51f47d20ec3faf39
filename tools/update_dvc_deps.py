"""Write the library dependencies of every stage in dvc.yaml, read from the stages' imports.

    python tools/update_dvc_deps.py

A stage depends on every room (package of src/windhover) that its script imports, directly or
through other rooms. It depends on single files of the package's top level and of two rooms: of
`params`, where each stage has a module of its own, and of `rendering`, where the pictures that
training writes and the HTML pages that it does not write are drawn.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import grimp
from ruamel.yaml import YAML

from windhover.files import atomic_file

ROOT = Path(__file__).parents[1]
LIBRARY = "windhover"
FILE_BY_FILE = (f"{LIBRARY}.params", f"{LIBRARY}.rendering")
# module -> files that it reads from the package
PACKAGE_DATA = {f"{LIBRARY}.rendering.html_page": f"src/{LIBRARY}/rendering/templates"}
# these print to the terminal or explain errors, and cannot change an output
WITHOUT_EFFECT = {f"{LIBRARY}.console", f"{LIBRARY}.extras"}


def build_graph() -> grimp.ImportGraph:
    """Return the import graph of the library, lazy imports inside functions included.

    The package's front door imports on demand what a user names; a stage does not use it.
    """
    graph = grimp.build_graph(LIBRARY, cache_dir=None)
    for imported in graph.find_modules_directly_imported_by(LIBRARY):
        graph.remove_import(importer=LIBRARY, imported=imported)
    return graph


def imported_modules(script: Path, graph: grimp.ImportGraph) -> set[str]:
    """Return the library modules that `script` imports itself."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names & graph.modules


def import_closure(script: Path, graph: grimp.ImportGraph) -> set[str]:
    """Return every library module that `script` reaches, the packages above them included."""
    direct = imported_modules(script, graph)
    modules = set(direct)
    for name in direct:
        modules |= graph.find_upstream_modules(name)
    # importing a module runs the __init__ of each package above it
    for name in list(modules):
        parts = name.split(".")
        modules |= {".".join(parts[:depth]) for depth in range(1, len(parts))}
    return modules


def library_deps(script: Path, graph: grimp.ImportGraph) -> list[str]:
    """Return what a stage's script depends on in src/, as sorted paths from the project's root.

    Rooms are folders (`src/windhover/models`), other modules are files.
    """
    deps: set[str] = set()
    for name in import_closure(script, graph) - WITHOUT_EFFECT:
        if name in FILE_BY_FILE and not _has_code(name):
            continue
        deps.add(_dependency(name))
        if name in PACKAGE_DATA:
            deps.add(PACKAGE_DATA[name])
    return sorted(deps)


def _has_code(package: str) -> bool:
    """Return whether a package's `__init__.py` holds more than a docstring, which has no effect."""
    path = ROOT / "src" / Path(*package.split(".")) / "__init__.py"
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    return any(not isinstance(statement, ast.Expr) for statement in statements)


def _dependency(module: str) -> str:
    """Return the file or the room's folder that stands for a module."""
    path = Path("src", *module.split("."))
    if module == LIBRARY or module in FILE_BY_FILE:
        return (path / "__init__.py").as_posix()
    room = ".".join(module.split(".")[:2])
    if (ROOT / "src" / Path(*room.split("."))).is_dir() and room not in FILE_BY_FILE:
        return Path("src", *room.split(".")).as_posix()
    return path.with_suffix(".py").as_posix()


def stage_script(stage: dict[str, Any]) -> Path:
    """Return the script that a stage's command runs."""
    return ROOT / str(stage["cmd"].split()[1])


def main() -> None:
    """Rewrite the `src/` lines of every stage's deps."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 160
    path = ROOT / "dvc.yaml"
    document = yaml.load(path.read_text(encoding="utf-8"))
    graph = build_graph()
    for stage in document["stages"].values():
        own = [dep for dep in stage["deps"] if not dep.startswith("src/")]
        stage["deps"] = own + library_deps(stage_script(stage), graph)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)


if __name__ == "__main__":
    main()
