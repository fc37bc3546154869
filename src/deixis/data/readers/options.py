"""How records are read: what their sentences are called, and where their photos are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .named_files import SearchFolders

Exif = Literal["turn", "ignore"]
Sentences = Literal["raw", "sent"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options of the readers of JSONL, CSV and COCO JSON, and of RefCOCO's family."""

    text_key: str | None = None  # the key of the sentences, where it is not a usual one
    exif: Exif = "turn"  # ignore: photos are read as stored
    images: Path | None = None  # the folder of the photos, where it is not the data set's own
    allow_outside: bool = False  # absolute paths and links may leave the folder
    sentences: Sentences = "raw"  # of RefCOCO's family: as written, or `sent` as its authors cleaned them

    def folders(self, root: Path, places: tuple[str, ...]) -> SearchFolders:
        if self.images is not None:
            return SearchFolders(self.images, ("", *places), self.allow_outside)
        return SearchFolders(root, places, self.allow_outside)


AS_WRITTEN = ReadOptions()
