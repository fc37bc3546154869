"""What every test may rely on."""

import gc
import os
from collections.abc import Iterator

import jaxtyping
import pytest
import torch

from tests.checked import checked

os.environ["ACCELERATE_USE_CPU"] = "true"  # weights are compared bit by bit, and two processes share no GPU
jaxtyping.jaxtyped = checked
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # programs that tests start compile the package once, not each
os.fsync = lambda file: None  # no test cuts the power, and a disk takes milliseconds for each of some thousand files


def pytest_collection() -> None:
    """What is imported for the tests lives to the end: the garbage collector need not look at it again and again."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums are rounded by how many threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
