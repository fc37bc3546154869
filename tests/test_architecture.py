"""The import rows of the design: a module imports from lower rows only, and neighbours stay apart."""

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
SIBLINGS_APART = {"models", "objectives", "adapt"}
FORBIDDEN_NAMES = {"utils", "util", "misc", "common", "helpers", "helper"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported(path: Path, source: str | None = None) -> Iterator[tuple[str, ...]]:
    """Every `deixis` module that the file imports, anywhere in it, as the parts of its name after `deixis`."""
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
    part = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert part in ROW_OF, f"{part} stands in no row of the design"
    for target in imported(path):
        assert target[0] in ROW_OF, f"{path}: {target[0]} stands in no row of the design"
        if target[0] == part:
            siblings = part in SIBLINGS_APART and path.name != "__init__.py" and target[1:2] != (path.stem,)
            assert not siblings, f"{path}: siblings in {part}/ import each other"
            continue
        # A package may use a neighbour in rows 0 to 4; `test_no_circle_of_packages` keeps circles out.
        lowest = ROW_OF[part] + (ROW_OF[part] <= 4)
        assert ROW_OF[target[0]] < lowest, f"{path}: {part} imports {target[0]}, which is not below it"
        apart = {part, target[0]} <= SIBLINGS_APART
        assert not apart, f"{path}: {part} and {target[0]} reach each other through protocols only"


def uses() -> dict[str, set[str]]:
    """Each package or top file with those that it imports."""
    found: dict[str, set[str]] = {}
    for path in MODULES:
        part = path.relative_to(PACKAGE).with_suffix("").parts[0]
        found.setdefault(part, set()).update(target[0] for target in imported(path) if target[0] != part)
    return found


def test_no_circle_of_packages() -> None:
    left = uses()
    while free := {name for name, used in left.items() if not used & left.keys()}:
        left = {name: used for name, used in left.items() if name not in free}
    assert not left, f"these import each other in a circle: {sorted(left)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_has_a_telling_name_and_a_sentence(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no module docstring"


def test_relative_and_absolute_imports_are_both_seen() -> None:
    source = (
        "from ..models.lavt import LAVT\nfrom . import swin\nimport deixis.training.loop\nfrom deixis import masks\n"
    )
    seen = set(imported(PACKAGE / "vision" / "imaginary.py", source))
    assert seen == {("models", "lavt", "LAVT"), ("vision", "swin"), ("training", "loop"), ("masks",)}


def test_only_the_command_line_and_the_server_print_or_exit() -> None:
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] in {"cli", "server"}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"print", "exit", "quit"}, f"{path}:{node.lineno} prints or exits"
