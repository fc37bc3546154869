"""Write the masks of a split of clips as a challenge server takes them; the split needs no labels."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from ..data.subsets import Subset
from ..data.validation import Issues
from ..predict.segmenter import Segmenter
from ..progress import ProgressBar
from . import ref_davis
from .scoring import Scoring, label_map, limited, predicted_masks
from .splits import SplitOptions, open_split
from .submissions import clip_dataset, frame_file, submission


def submit(
    model: Segmenter | Callable[[], Segmenter],
    data: SplitOptions,
    path: Path,
    *,
    threshold: float | None = None,
    presence_threshold: float | None = None,
    batch_size: int = 8,
    workers: int = 0,
    quiet: bool = True,
) -> int:
    """The number of PNGs in the zip, which appears when all are written.

    Of Ref-DAVIS17 a PNG is the label map of all objects that one annotator describes, of the other data sets the mask
    of one expression. Raises `InputError` for other data, or where the zip exists.
    """
    reader = limited(open_split(data, Issues()), data.limit)
    dataset = clip_dataset(reader)
    scoring = Scoring(
        batch_size=batch_size, workers=workers, threshold=threshold, presence_threshold=presence_threshold
    )
    with submission(path) as writer, ProgressBar("masks", len(reader), quiet=quiet) as bar:
        segmenter = model if isinstance(model, Segmenter) else model()
        if dataset != "ref-davis":
            for one in predicted_masks(segmenter, reader, scoring):
                writer.add_mask(frame_file(one.sample, dataset), one.mask)
                bar.advance(1)
            return writer.num_files
        for group in ref_davis.groups(reader, "unsupervised"):
            part = Subset(reader, [at for name in group.frames for at in group.frames[name]])
            each = predicted_masks(segmenter, part, scoring)
            for _, of_frame in groupby(each, key=lambda one: str(one.sample.traits["frame_name"])):
                found = list(of_frame)
                writer.add(frame_file(found[0].sample, dataset), label_map(found))
                bar.advance(len(found))
        return writer.num_files
