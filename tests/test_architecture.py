"""The import rows of the design: packages import downwards, siblings stay apart, a system is read from few files."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "deixis"
ROWS = (
    ("records", "masks", "errors"),
    ("batch", "system", "files", "hub", "weights", "compiling", "progress"),
    ("data", "toyland", "text", "vision", "layers", "kernels", "losses", "metrics", "viz"),
    ("models", "objectives", "adapt", "checkpoints", "training", "predict", "evaluation"),
    ("zoo", "runs"),
    ("recipes",),
    ("server", "export"),
    ("cli",),
)
ROW_OF = {name: row for row, names in enumerate(ROWS) for name in names}
LAST_ROW_WITH_NEIGHBOURS = 4  # up to here a package may use a neighbour; `test_no_circle_of_packages` limits it
SIBLINGS_APART = {"models", "objectives", "adapt"}
FORBIDDEN_NAMES = {"utils", "util", "misc", "common", "helpers", "helper"}
# A recipe is data: it imports configs, and the Run they make up.
RECIPES_IMPORT = {"recipes", "models", "objectives", "adapt", "vision", "text", "records", "errors", "toyland", "data"}
MOST_FILES, MOST_LINES = 12, 1700  # of what one reads to understand a system, beside the rows below
NOT_COUNTED = {"kernels", *ROWS[0], *ROWS[1]}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def module_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(path: Path, source: str | None = None) -> Iterator[tuple[str, ...]]:
    """Every `deixis` module or name that the file imports, anywhere in it, as the parts of its name after `deixis`."""
    package = ["deixis", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8") if source is None else source)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            names = [[*module, alias.name] for alias in node.names]
        else:
            continue
        yield from (tuple(name[1:]) for name in names if name[0] == "deixis" and len(name) > 1)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    module = module_of(path)
    part = module[0]
    assert part in ROW_OF, f"{part} is in no row of the design"
    for target in imported(path):
        assert target[0] in ROW_OF, f"{path}: {target[0]} is in no row of the design"
        if target[0] == part:
            apart = part in SIBLINGS_APART and path.name != "__init__.py" and target[1:2] != module[1:2]
            assert not apart, f"{path}: siblings in {part}/ import each other"
            continue
        lowest = ROW_OF[part] + (ROW_OF[part] <= LAST_ROW_WITH_NEIGHBOURS)
        assert ROW_OF[target[0]] < lowest, f"{path}: {part} imports {target[0]}, which is not below it"
        apart = {part, target[0]} <= SIBLINGS_APART
        assert not apart, f"{path}: {part} and {target[0]} reach each other through protocols only"


def test_no_circle_of_packages() -> None:
    uses: dict[str, set[str]] = {}
    for path in MODULES:
        part = module_of(path)[0]
        uses.setdefault(part, set()).update(target[0] for target in imported(path) if target[0] != part)
    while free := {name for name, used in uses.items() if not used & uses.keys()}:
        uses = {name: used for name, used in uses.items() if name not in free}
    assert not uses, f"these packages import each other in a circle: {sorted(uses)}"


def test_recipes_import_configs_and_runs_only() -> None:
    for path in (PACKAGE / "recipes").glob("*.py"):
        if path.stem == "catalogue":  # lists the recipes and trains one
            continue
        for target in imported(path):
            is_setting = target[:2] in {("training", "optim"), ("training", "schedule")}
            is_run = target[:2] in {("runs", "run"), ("runs", "data"), ("runs", "initialise")}
            assert target[0] in RECIPES_IMPORT or is_setting or is_run, f"{path} imports {'.'.join(target)}"


def test_a_system_is_understood_from_few_files() -> None:
    known = {module_of(path): path for path in MODULES}
    graph = {module: {landing(target, known) for target in imported(path)} for module, path in known.items()}
    for module in known:
        if module[0] != "models" or len(module) < 2:
            continue
        seen: set[tuple[str, ...]] = set()
        todo = [module]
        while todo:
            reached = todo.pop()
            if reached not in seen and reached and reached[0] not in NOT_COUNTED:
                seen.add(reached)
                todo += graph[reached]
        lines = sum(len(known[each].read_text(encoding="utf-8").splitlines()) for each in seen)
        assert len(seen) <= MOST_FILES, f"{module[1]} is spread over {len(seen)} files: {sorted(seen)}"
        assert lines <= MOST_LINES, f"{module[1]} is spread over {lines} lines in {sorted(seen)}"


def landing(target: tuple[str, ...], known: dict[tuple[str, ...], Path]) -> tuple[str, ...]:
    """The module that a dotted import lands in."""
    return next((target[:end] for end in range(len(target), 0, -1) if target[:end] in known), ())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_has_a_telling_name_and_a_sentence(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no module docstring"


def test_relative_and_absolute_imports_are_both_seen() -> None:
    source = """
from ..models.lavt import LAVT
from . import swin
import deixis.training.loop
from deixis import masks
"""
    seen = set(imported(PACKAGE / "vision" / "imaginary.py", source))
    assert seen == {("models", "lavt", "LAVT"), ("vision", "swin"), ("training", "loop"), ("masks",)}


def test_only_the_command_line_and_the_server_print_or_exit() -> None:
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] in {"cli", "server"}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"print", "exit", "quit"}, f"{path}:{node.lineno} prints or exits"
