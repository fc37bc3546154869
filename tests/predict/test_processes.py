"""A model in a process that was forked after loading neither waits for ever nor returns something else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deixis.errors import ModelError
from deixis.predict.processes import check_process

PHOTO = Path(__file__).parents[2] / "examples" / "toyland.png"
PROGRAM = """
import multiprocessing, sys, warnings
import torch
import deixis
torch.set_num_threads(2)
segmenter = deixis.load(device="cpu")
photo = sys.argv[1]
encoded = segmenter.encode(photo)
expected = segmenter(photo, "the turtle")

def run(number):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = segmenter(photo, "the turtle") if number % 2 else encoded("the turtle")
    same = (found.mask == expected.mask).all() and abs(found.probability - expected.probability).max() < 1e-4
    return bool(same), [str(one.message) for one in caught]

with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map_async(run, range(4), chunksize=1).get(60)
assert all(same for same, _ in found), found
sentences = [sentence for _, caught in found for sentence in caught]
assert 1 <= len(sentences) <= 2, sentences  # once in each child
assert all("loaded before this process was forked" in sentence for sentence in sentences), sentences
"""


def test_a_forked_pool_returns_what_its_parent_returns_and_warns() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, str(PHOTO)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_process_that_loaded_the_model_computes_as_before() -> None:
    threads = torch.get_num_threads()
    check_process(os.getpid(), torch.device("cpu"), False, "tiny")  # warnings are errors here
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("device", "compiled", "kind"), [("cpu", True, "compiled"), ("cuda", False, "on cuda"), ("mps", False, "on mps")]
)
def test_models_that_cannot_run_in_a_forked_child_say_so(device: str, compiled: bool, kind: str) -> None:
    with pytest.raises(ModelError, match=rf"'tiny' is {kind} and was loaded before this process was forked"):
        check_process(os.getpid() + 1, torch.device(device), compiled, "tiny")
