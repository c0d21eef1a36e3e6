"""Dependencies point one way: plan <- engine <- {wasm, connect} <- py <- Python; in Python, down `LAYERS`."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "dataflare_fast"
MODULES = sorted(PACKAGE.rglob("*.py"))

CRATES = {
    "plan": set(),
    "engine": {"plan"},
    "wasm": {"plan", "engine"},
    "connect": {"plan", "engine"},
    "py": {"plan", "engine", "wasm", "connect"},
}
FOREIGN = {"pyo3": {"py"}, "rdkafka": {"connect"}, "wasmtime": {"wasm"}}

# From below to above; a name stands for a module or package and all parts of it that are not named.
# A module imports from layers below its own, and from its own name.
LAYERS = [
    ["_core", "_native", "errors", "notices"],
    ["durations"],
    ["config", "interrupts"],
    ["planner.schema", "planner.visitor"],  # how Polars' types and plans are read
    ["checkpoint", "sinks", "sources", "udf"],
    ["words"],
    ["frame"],
    ["sql_rewriting"],
    ["sql"],
    ["planner"],
    ["job"],
    ["monitoring", "progress", "results"],
    ["engine"],
    ["testing"],
    [""],  # the package itself: public names only
    ["targets"],
    ["console", "service"],
    ["cli"],
    ["mypy_plugin"],
]
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    """The longest name in `LAYERS` that `module` lies in."""
    parts = module.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    found = next((name for name in names if name in LEVELS), None)
    assert found is not None, (
        f"dataflare_fast.{module} is in no layer: give it a place in LAYERS, or a better home"
    )
    return found


def imports_of(path: Path) -> list[str]:
    """What a module imports of this package, also inside functions; "from x import y" counts as x.y."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name.removeprefix("dataflare_fast.") for name in found if name.startswith("dataflare_fast.")]


def test_crates_depend_downwards_only() -> None:
    edges = set()
    for manifest in sorted((ROOT / "rust").glob("*/Cargo.toml")):
        tables = tomllib.loads(manifest.read_text())
        crate = manifest.parent.name
        names = {name for table in ("dependencies", "build-dependencies") for name in tables.get(table, {})}
        ours = {name.removeprefix("dataflare-") for name in names if name.startswith("dataflare-")}
        assert ours <= CRATES[crate], f"{manifest}: {sorted(ours - CRATES[crate])} is not below {crate}"
        for name in names & FOREIGN.keys():
            assert crate in FOREIGN[name], f"{manifest}: only {sorted(FOREIGN[name])} may know {name}"
        edges |= {(crate, name) for name in ours}
    assert {("engine", "plan"), ("connect", "engine"), ("py", "engine")} <= edges


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path)], ids=name_of)
def test_module_imports_from_below_only(path: Path) -> None:
    module = name_of(path)
    own = layer_of(module)
    for imported in imports_of(path):
        other = layer_of(imported)
        assert own == other or LEVELS[other] < LEVELS[own], f"{module} ({own}) imports {imported} ({other})"


def test_imports_were_found() -> None:
    assert sum(len(imports_of(path)) for path in MODULES) > 10


def test_only_the_visitor_sees_the_private_side_of_polars() -> None:
    seen = set()
    for path in MODULES:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        attributes = [node.attr for node in nodes if isinstance(node, ast.Attribute)]
        if any(name.startswith("polars._") for name in modules) or {"_ldf", "_pyexpr"} & set(attributes):
            seen.add(layer_of(name_of(path)))
    assert seen == {"planner.visitor"}
