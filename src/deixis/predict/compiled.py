"""A compiled system that is always called with one shape, since the compiler starts again for every other."""

import threading
import warnings
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from ..batch import Batch, Output
from ..compiling import compile_once
from ..errors import ModelError


class Compiled:
    """Returns the system's Output for batches of any shape.

    The system itself sees one image and `sentences` expressions of exactly `tokens` tokens at a time, filled up with
    padding and with repetitions of the last expression, so evidence for each token comes with `tokens` tokens. On a
    CPU the weights are packed for the processor and must not change afterwards. One thread runs at a time.
    """

    def __init__(self, system: nn.Module, *, tokens: int, sentences: int = 1) -> None:
        compile_once(system, dynamic=False)
        self.system, self.tokens, self.sentences = system, tokens, sentences
        self.frozen = next(system.parameters()).device.type == "cpu"  # not tried on other devices
        self._running = threading.Lock()

    @torch.inference_mode(False)  # within it the compiler would not pack the weights
    @torch.no_grad()
    def __call__(self, batch: Batch, *, explain: bool = False) -> Output:
        """Raises `ModelError` where the system cannot be compiled, without a C++ compiler for example."""
        if not len(batch):
            raise ValueError("The batch has no expressions; expected one or more.")
        if batch.token_ids.shape[1] > self.tokens:
            raise ValueError(
                f"The expressions have {batch.token_ids.shape[1]} tokens, but at most {self.tokens} are read; cut them "
                "first."
            )
        places, outputs = [], []
        for image, positions in self._pieces(batch):
            outputs.append(_first(self._run(self._piece(batch, image, positions), explain), len(positions)))
            places.append(positions)
        return _joined(outputs, torch.cat(places).argsort())

    def _pieces(self, batch: Batch) -> Iterator[tuple[int, Int[Tensor, " b"]]]:
        """Each image with the positions of some expressions about it."""
        images = torch.arange(len(batch), device=batch.token_ids.device)
        images = images if batch.image_index is None else batch.image_index
        for image in images.unique().tolist():
            for positions in (images == image).nonzero().flatten().split(self.sentences):
                yield image, positions

    def _piece(self, batch: Batch, image: int, positions: Int[Tensor, " b"]) -> Batch:
        filled = torch.cat([positions, positions[-1:].expand(self.sentences - len(positions))])
        missing = (0, self.tokens - batch.token_ids.shape[1])
        return Batch(
            images=batch.images[image : image + 1].contiguous(),
            token_ids=F.pad(batch.token_ids[filled], missing),
            token_mask=F.pad(batch.token_mask[filled], missing),
            image_index=torch.zeros_like(filled),
            frames=None if batch.frames is None else batch.frames[image : image + 1],
        )

    def _run(self, piece: Batch, explain: bool) -> Output:
        # The settings of the compiler and of warnings hold for the whole process.
        with self._running:
            try:
                # As an option of torch.compile freezing has no effect: the weights are then inputs of the graph.
                with torch._inductor.config.patch(freezing=self.frozen), warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
                    return self.system(piece, explain=explain)
            except torch._dynamo.exc.TorchDynamoException as error:
                lines = (line for line in str(error).splitlines() if line.strip() and not line.startswith("backend="))
                reason = next(lines, type(error).__name__).rstrip(".")
                raise ModelError(
                    f"The system cannot be compiled here ({reason}); PyTorch needs a C++ compiler such as g++: install "
                    "one, or continue without compiling."
                ) from error


def _first(output: Output, count: int) -> Output:
    """The Output of the first expressions, without the repetitions."""
    return Output(
        logits=output.logits[:count],
        presence=None if output.presence is None else output.presence[:count],
        evidence={name: maps[:count] for name, maps in output.evidence.items()},
    )


def _joined(outputs: list[Output], order: Int[Tensor, " b"]) -> Output:
    """The Outputs one after another, then in this order."""
    presence = [output.presence for output in outputs if output.presence is not None]
    return Output(
        logits=torch.cat([output.logits for output in outputs])[order],
        presence=torch.cat(presence)[order] if presence else None,
        evidence={
            name: torch.cat([output.evidence[name] for output in outputs])[order] for name in outputs[0].evidence
        },
    )
