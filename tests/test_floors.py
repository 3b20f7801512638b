"""The house keeps its floors: imports go down only, and each library lives where it belongs."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "layercli"
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = {
    "core": 1.0,
    "diffusion": 2.0,
    "models": 2.5,
    "vision": 2.5,
    "generate": 3.0,
    "decompose": 3.0,
    "edit": 3.0,
    "formats": 3.0,
    "evaluate": 3.0,
    "data": 3.0,
    "train": 3.0,
    "cli": 4.0,
}
ONLY_IN = {
    "typer": {"cli"},
    "rich": {"cli"},
    "click": {"cli"},
    "diffusers": {"models"},
    "transformers": {"models", "vision"},
    "psd_tools": {"formats"},
    "pytoshop": {"formats"},
    "tifffile": {"formats"},
}
ALLOWED = {
    ("train", "data"),  # training reads the data sets that data builds
    ("data", "decompose"),  # a data set of photos is photos taken apart
    (
        "edit",
        "generate",
    ),  # an edit that draws is generation in which some frames are held: one sampler for both
}
NEVER_IN = {"torch": {"core", "formats"}}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in FILES:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path, tree: ast.AST) -> Iterator[str]:
    """Every module that a file names in an import anywhere, relative ones resolved."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            if module.startswith("layercli"):
                yield from (f"{module}.{alias.name}" for alias in node.names)


def test_there_is_a_house():
    assert {room_of(module_of(path)) for path in FILES} >= {"core", "cli"}


def test_every_room_is_on_a_floor():
    assert {room_of(module_of(path)) for path in FILES} - {"", "__main__"} <= set(FLOORS)


def test_imports_go_down_only_and_the_third_floor_keeps_to_itself():
    wrong = []
    for path, tree in trees():
        here = room_of(module_of(path))
        for module in imported(path, tree):
            there = room_of(module) if module.startswith("layercli.") else ""
            if there not in FLOORS or here not in FLOORS or there == here or (here, there) in ALLOWED:
                continue
            if FLOORS[there] >= FLOORS[here]:
                wrong.append(f"{module_of(path)} imports {module}")
    assert wrong == []


@pytest.mark.parametrize("library", sorted(ONLY_IN | NEVER_IN))
def test_libraries_stay_in_their_rooms(library: str):
    rooms = {
        room_of(module_of(path))
        for path, tree in trees()
        if any(module.partition(".")[0] == library for module in imported(path, tree))
    }
    assert rooms <= ONLY_IN.get(library, set(FLOORS)) - NEVER_IN.get(library, set())


def test_only_the_cli_prints():
    printing = {
        module_of(path)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert {room_of(module) for module in printing} <= {"cli"}


def test_no_module_imports_itself_in_a_circle():
    modules = {module_of(path) for path in FILES}
    graph = {
        module_of(path): {
            name for name in imported(path, tree) if name in modules and name != module_of(path)
        }
        for path, tree in trees()
    }
    for module in modules:  # a package's __init__ runs before its modules, without importing them
        graph[module].discard("layercli")
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) >= modules


def test_no_import_has_an_effect():
    """At the top of a module stand definitions, imports and constants; no loop, no bare call, no with."""
    loud = [
        f"{module_of(path)}:{node.lineno}"
        for path, tree in trees()
        for node in tree.body
        if isinstance(node, ast.For | ast.While | ast.With)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    ]
    assert loud == []
