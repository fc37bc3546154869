"""The names that `import deixis` offers: few, real, and free until they are used."""

import importlib
import pkgutil
import subprocess
import sys
import types

import pytest

import deixis


def test_every_public_name_exists_and_there_are_at_most_twelve() -> None:
    assert len(deixis.__all__) == 12
    for name in deixis.__all__:
        assert name.isupper() or getattr(deixis, name).__name__ == name
    assert all(callable(recipe) for recipe in deixis.RECIPES.values())
    assert set(dir(deixis)) == set(deixis.__all__)


def test_no_package_has_the_name_of_a_public_function() -> None:
    for module in pkgutil.walk_packages(deixis.__path__, "deixis."):
        if module.name.rpartition(".")[2] != "__main__":
            importlib.import_module(module.name)
    for _ in range(2):
        for name in ("load", "segment", "train", "evaluate"):
            assert callable(getattr(deixis, name))
            assert not isinstance(getattr(deixis, name), types.ModuleType)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        deixis.Segmentor  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, deixis, deixis.cli; print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"
