"""The images in a folder: which files count as images, and what was passed over."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

# Of the formats that `images.py` reads. HEIF needs the extra; formats that start other programs are absent.
IMAGE_SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        *(".avif", ".avifs", ".heic", ".heif", ".heics", ".heifs", ".hif"),
    )
)


@dataclass(frozen=True)
class FolderImages:
    """The images of a folder in order of their names, and how many other files there are of each suffix."""

    images: tuple[Path, ...]
    passed_over: Counter[str]
    folders: int  # that were not entered

    def summary(self) -> str:
        """One line about what was passed over; empty where nothing was."""
        kinds = [f"{count:,} {suffix or 'without suffix'}" for suffix, count in sorted(self.passed_over.items())]
        kinds += [f"{self.folders:,} {'folder' if self.folders == 1 else 'folders'}"] if self.folders else []
        return f"Passed over: {', '.join(kinds)}." if kinds else ""


def is_image_name(name: str) -> bool:
    """Whether the name ends as an image's does, and is not hidden."""
    path = Path(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def find_images(folder: Path, recursive: bool = False) -> FolderImages:
    """The images of the folder, with `recursive` those of its folders too; hidden files and folders are ignored."""
    images: list[Path] = []
    passed_over: Counter[str] = Counter()
    folders = 0
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            folders += not recursive
            if recursive:
                below = find_images(path, recursive)
                images += below.images
                passed_over += below.passed_over
        elif is_image_name(path.name):
            images.append(path)
        else:
            passed_over[path.suffix.lower()] += 1
    return FolderImages(tuple(images), passed_over, folders)
