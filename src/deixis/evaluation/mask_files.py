"""Score masks of clips that lie in files, one PNG a frame, as submissions hold them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from .. import masks
from ..errors import InputError
from ..metrics.protocols import ScoringProtocol
from ..metrics.scored import Scored, label_of, score_expression
from ..records import Reader, Sample
from . import ref_davis
from .submissions import MaskFiles, clip_dataset, frame_file


@dataclass
class FileScorer:
    """Compares the files with a split; `missing` lists the samples without a file that were met so far."""

    files: MaskFiles
    reader: Reader  # all of the split, also where a protocol leaves frames out
    rules: ScoringProtocol
    missing: list[str] = field(default_factory=list)

    def scored(self) -> Iterator[Scored]:
        """The records; a mask that is missing counts as empty.

        Raises `InputError` for a mask of another size than its frame.
        """
        dataset = clip_dataset(self.reader)
        if self.rules.davis is not None:
            for group in ref_davis.groups(self.reader, self.rules.davis):
                samples = {name: [self.reader[at] for at in places] for name, places in group.frames.items()}
                labels = {name: self._labels(of_frame[0], dataset) for name, of_frame in samples.items()}
                yield from ref_davis.score_group(samples, labels, group.counted, self.rules.davis)
            return
        for position in range(len(self.reader)):
            sample = self.reader[position]
            mask = self._labels(sample, dataset) > 0
            yield score_expression(sample, [(masks.encode(mask), 1.0)], self.rules)  # type: ignore[list-item]

    def _labels(self, sample: Sample, dataset: str) -> UInt8[np.ndarray, "h w"]:
        name = frame_file(sample, dataset)
        size = tuple(label_of(sample)["size"])
        if name not in self.files:
            self.missing.append(sample.ids.sentence)
            return np.zeros(size, dtype=np.uint8)
        values = self.files.read(name)
        if values.shape != size:
            raise InputError(
                f"{self.files.path}: {name} has {values.shape[0]}x{values.shape[1]} pixels; expected "
                f"{size[0]}x{size[1]}, as its frame."
            )
        return values
