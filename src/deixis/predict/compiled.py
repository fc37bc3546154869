"""A compiled system, asked in one shape only, since the compiler begins anew for any other."""

import warnings
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from ..batch import Batch, Output
from ..compiling import compile_once
from ..errors import InputError


class Compiled:
    """Answers as the system does, on batches of any shape.

    The system sees one image and `sentences` of exactly `words` words at a time, filled up with padding and with the
    last sentence again, so word by word evidence comes with `words` words. On a CPU its weights are packed for the
    processor and must not change any more.
    """

    def __init__(self, system: nn.Module, *, words: int, sentences: int = 1) -> None:
        compile_once(system, dynamic=False)
        self.system, self.words, self.sentences = system, words, sentences
        self.frozen = next(system.parameters()).device.type == "cpu"  # elsewhere it was not tried

    @torch.inference_mode(False)  # within it the compiler would not pack the weights
    @torch.no_grad()
    def __call__(self, batch: Batch) -> Output:
        """Raises `DeixisError` where the compiler cannot do its work, for want of a C++ compiler for example."""
        if not len(batch):
            raise ValueError("A batch without expressions has no answer.")
        if batch.token_ids.shape[1] > self.words:
            raise ValueError(
                f"{batch.token_ids.shape[1]} words came and {self.words} are read; cut the expressions before."
            )
        places, outputs = [], []
        for image, positions in self._pieces(batch):
            output, count = self._answer(self._piece(batch, image, positions)), len(positions)
            places.append(positions)
            outputs.append((output.logits[:count], {name: maps[:count] for name, maps in output.evidence.items()}))
        back = torch.cat(places).argsort()
        logits, evidence = zip(*outputs, strict=True)
        return Output(
            logits=torch.cat(logits)[back],
            evidence={name: torch.cat([maps[name] for maps in evidence])[back] for name in evidence[0]},
        )

    def _pieces(self, batch: Batch) -> Iterator[tuple[int, Int[Tensor, " b"]]]:
        """Every image with the positions of some sentences about it."""
        about = torch.arange(len(batch), device=batch.token_ids.device)
        about = about if batch.image_index is None else batch.image_index
        for image in about.unique().tolist():
            for positions in (about == image).nonzero().flatten().split(self.sentences):
                yield image, positions

    def _piece(self, batch: Batch, image: int, positions: Int[Tensor, " b"]) -> Batch:
        filled = torch.cat([positions, positions[-1:].expand(self.sentences - len(positions))])
        missing = (0, self.words - batch.token_ids.shape[1])
        return Batch(
            images=batch.images[image : image + 1].contiguous(),
            token_ids=F.pad(batch.token_ids[filled], missing),
            token_mask=F.pad(batch.token_mask[filled], missing),
            image_index=torch.zeros_like(filled),
        )

    def _answer(self, piece: Batch) -> Output:
        try:
            # Among torch.compile's options freezing comes too late: by then weights are what the graph is given.
            with torch._inductor.config.patch(freezing=self.frozen), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")  # it traces them
                return self.system(piece)
        except torch._dynamo.exc.TorchDynamoException as error:
            lines = (line for line in str(error).splitlines() if line.strip() and not line.startswith("backend="))
            reason = next(lines, type(error).__name__).rstrip(".")
            raise InputError(
                f"The system cannot be compiled here ({reason}); PyTorch wants a C++ compiler such as g++: install "
                "one, or go on without compiling."
            ) from error
