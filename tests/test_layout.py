"""The shape of the code: imports point one way, files stay small, every module says what it is for."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "otel_pipeline"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "native" not in path.relative_to(PACKAGE).parts)
MODULES = {".".join(("otel_pipeline", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in FILES}
MODULES = {name.removesuffix(".__init__"): path for name, path in MODULES.items()}
MAX_LINES = 800
MAX_FUNCTION_LINES = 80

COMPONENT_FOLDERS = ("receivers", "processors", "connectors", "exporters", "extensions")
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "_native", "options", "times"),
    ("telemetry", "semconv"),
    ("pdata",),
    ("prometheus",),
    ("component",),
    ("journeys",),
    ("helpers", "testing", "ui"),
    COMPONENT_FOLDERS,
    ("config",),
    ("service",),
    ("demo_week",),
    ("demo", "doctor", "journey_text", "semconv_explain", "semconv_live_check"),
    ("journey_commands", "semconv_commands"),
    ("cli",),
    ("__main__",),
)
"""From the bottom. A module imports its own folder and layers below; within a layer nobody imports another."""

RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ALONE = "instrument"
"""What runs beside agents imports nothing of the gateway."""

each_module = pytest.mark.parametrize("module", MODULES)


def part(module: str) -> str:
    """The file or folder of the package that holds a module: `config` of `otel_pipeline.config.load`."""
    return module.split(".")[1] if "." in module else ""


def targets(node: ast.AST) -> Iterator[str]:
    """The modules of the package that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "otel_pipeline")
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        if node.module.split(".")[0] != "otel_pipeline":
            return
        for alias in node.names:
            deeper = f"{node.module}.{alias.name}"
            is_module = deeper in MODULES or (node.module == "otel_pipeline" and not alias.name.startswith("__"))
            yield deeper if is_module else node.module


def imports(module: str, *, when_loaded: bool = False) -> set[str]:
    """Everything that the module imports from the package; `when_loaded` leaves out what only functions import."""
    pending: list[ast.AST] = [ast.parse(MODULES[module].read_text(encoding="utf-8"))]
    found: set[str] = set()
    while pending:
        node = pending.pop()
        found.update(targets(node))
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (when_loaded and (inside or types_only)):
            pending.extend(ast.iter_child_nodes(node))
    return found


def test_there_is_something_to_look_at() -> None:
    """The walk finds the modules, or every test below would pass on nothing."""
    assert {"otel_pipeline", "otel_pipeline.errors", "otel_pipeline.config.load"} <= MODULES.keys()
    assert "otel_pipeline.config.load" in imports("otel_pipeline.config")
    assert "otel_pipeline.config" in imports("otel_pipeline.cli")
    assert "otel_pipeline.config" not in imports("otel_pipeline.cli", when_loaded=True)


@each_module
def test_every_part_has_a_place_in_the_order(module: str) -> None:
    """A new file or folder is given its layer here."""
    assert part(module) in {"", ALONE, *RANKS}


@each_module
def test_imports_point_downwards(module: str) -> None:
    """A module imports its own folder or layers below it; component folders never import each other."""
    here = part(module)
    for target in imports(module):
        there = part(target)
        below = here in RANKS and RANKS.get(there, len(LAYERS)) < RANKS[here]
        assert there in ("", here) or below, f"{module} imports {target}"


def test_no_imports_are_relative() -> None:
    """Every import names the whole path, so that the tests above see it."""
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), module


def test_modules_do_not_import_in_circles() -> None:
    """Loading any module never comes back to it."""
    graph = {module: imports(module, when_loaded=True) & MODULES.keys() - {module} for module in MODULES}
    TopologicalSorter(graph).prepare()


@each_module
def test_every_module_says_what_it_is_for(module: str) -> None:
    """A docstring stands at the top."""
    assert ast.get_docstring(ast.parse(MODULES[module].read_text(encoding="utf-8")))


@each_module
def test_files_and_functions_stay_small(module: str) -> None:
    """No file is over 800 lines, unless it is generated; no function over 80."""
    text = MODULES[module].read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES or "\nGenerated from " in text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, node.name


def exported(module: str) -> set[str] | None:
    """The names of `__all__`; None without one."""
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


def bound(module: str) -> Iterator[str]:
    """The names that the module's own statements define or import."""
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=assigned):
                yield from (target.id for target in assigned if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name for alias in names)


@each_module
def test_all_lists_names_that_exist(module: str) -> None:
    """Nothing in `__all__` is missing, private or listed in vain."""
    names = exported(module) or set()
    assert names <= set(bound(module))
    assert not [name for name in names if name.startswith("_") and name != "__version__"]


@each_module
def test_only_exported_names_are_imported(module: str) -> None:
    """What one module takes from another is in the other's `__all__`: that is its whole contract."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = exported(node.module)
            for alias in node.names if names is not None else ():
                is_module = f"{node.module}.{alias.name}" in MODULES
                assert is_module or alias.name in (names or ()), f"{module} takes {alias.name} of {node.module}"


def test_rust_files_stay_small() -> None:
    """The same limit holds for the native part, and tests stay out of its source files."""
    for path in (PACKAGE / "native" / "src").rglob("*.rs"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= MAX_LINES, path
        assert "#[cfg(test)]" not in text, path
