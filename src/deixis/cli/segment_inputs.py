"""Which arguments of `deixis segment` are photos and which are expressions, and the photos of folders."""

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ..data.image_folders import IMAGE_SUFFIXES, find_images
from ..errors import InputError
from .segment_answers import is_own_file

STDIN = "-"
SAY = '"the red cup"'
EXAMPLE = f"deixis segment photo.jpg {SAY}"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class Photo:
    """A photo to segment: its name as given, and its content where it is not a file."""

    name: str
    content: bytes | None = None

    @property
    def source(self) -> bytes | Path:
        return Path(self.name) if self.content is None else self.content

    @property
    def identity(self) -> str:
        """What answers are named after: the absolute path, or the digest of what standard input held."""
        if self.content is not None:
            return f"stdin:{hashlib.sha256(self.content).hexdigest()}"
        return os.path.abspath(self.name)

    @property
    def stem(self) -> str:
        return "stdin" if self.content is not None else Path(self.name).stem

    @property
    def stamp(self) -> list[int]:
        """Size and time of the file's last change, by which a changed photo is recognised; zeros without a file."""
        try:
            found = os.stat(self.name) if self.content is None else None
        except OSError:
            found = None
        return [0, 0] if found is None else [found.st_size, found.st_mtime_ns]


def split_arguments(
    arguments: Sequence[str], images: Sequence[str], texts: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The names of photos and folders, and the expressions; raises `InputError` where an argument has two readings.

    `images` and `texts` were given as options and are not questioned.
    """
    photos = [argument for argument in arguments if _is_photo(argument)]
    sentences = [argument for argument in arguments if not _is_photo(argument)]
    if not all(sentence.strip() for sentence in (*sentences, *texts)):
        raise InputError(f"A sentence is empty; describe an object: {EXAMPLE}.")
    for argument in sentences:
        _check_sentence(argument, has_photos=bool(photos or images), others=len(sentences) + len(texts) - 1)
    if any(os.path.isfile(photo) for photo in photos):
        for argument in photos:
            if argument.isalpha() and os.path.isdir(argument) and sentences:
                raise InputError(
                    f"{argument!r} is a folder here, and may also be an expression; write ./{argument} for the folder, "
                    f"or --text {argument} for the expression."
                )
    if not [*photos, *images]:
        raise InputError(f"There is no image; for example: {EXAMPLE}.")
    if not [*sentences, *texts]:
        words = [photo for photo in photos if photo.isalpha()]
        hint = f" {words[0]!r} is a folder or file here; for the expression use --text {words[0]}." if words else ""
        raise InputError(f"There is no sentence; for example: {EXAMPLE}.{hint}")
    return [*photos, *images], [*sentences, *texts]


def find_photos(names: Iterable[str], *, recursive: bool) -> list[Photo]:
    """The photos of these files and folders, `-` being standard input, each once and without `segment`'s own files.

    Prints one line to standard error for each folder in which something was passed over.
    """
    found: dict[str, Photo] = {}
    own = 0
    for name in names:
        if name == STDIN:
            photos = [_from_stdin()]
        elif os.path.isdir(name):
            photos = [Photo(str(path)) for path in _inside(Path(name), recursive)]
        else:
            photos = [Photo(name)]
        for photo in photos:
            if photo.content is None and is_own_file(Path(photo.name)):
                own += 1
            else:
                found.setdefault(photo.identity, photo)
    if own:
        print(f"deixis: passed over {own:,} {'file' if own == 1 else 'files'} that segment wrote", file=sys.stderr)
    if not found:
        raise InputError("There is no image beside files that segment wrote; give the photos themselves.")
    photos = list(found.values())
    if not any(photo.content is not None or os.path.exists(photo.name) for photo in photos):
        if _ADDRESS.match(photos[0].name):
            raise InputError(f"{photos[0].name} is an address; download the image and give the path of the copy.")
        near = _nearest(photos[0].name)
        hint = f" Did you mean {near!r}?" if near else ""
        raise InputError(f"There is no file {photos[0].name!r}; give the path of an image.{hint}")
    return photos


def split_clips(names: Iterable[str], *, folders_too: bool) -> tuple[list[str], list[str]]:
    """The clips among the names, each once, and the others; with `folders_too` every folder is a clip of frames."""
    from ..data.clips import is_video_name

    names = list(names)
    clips = [name for name in names if is_video_name(name) or (folders_too and os.path.isdir(name))]
    return list(dict.fromkeys(clips)), [name for name in names if name not in clips]


def read_texts(file: Path) -> list[str]:
    """The expressions of a text file, one a line; empty lines are ignored."""
    from ..data.readers.text_files import read_text_file

    lines = [line.strip() for line in read_text_file(file).text.splitlines()]
    if not any(lines):
        raise InputError(f"{file} has no expression; write one on each line.")
    return [line for line in lines if line]


def _is_photo(argument: str) -> bool:
    """Whether it exists, or is written as a path or an image's name."""
    from ..data.clips import is_video_name

    is_named_so = Path(argument).suffix.lower() in IMAGE_SUFFIXES or is_video_name(argument)
    if argument == STDIN or is_named_so or _ADDRESS.match(argument):
        return True
    if bool(argument.strip()) and os.path.exists(argument):  # unlike Path's, False for what is not a path
        return True
    return argument.endswith(("/", os.sep)) or (("/" in argument or os.sep in argument) and not _has_space(argument))


def _check_sentence(argument: str, *, has_photos: bool, others: int) -> None:
    """Raises `InputError` for a single word that may be a mistyped file: `others` could be the expressions."""
    if _has_space(argument) or not argument.strip():
        return
    near = _nearest(argument)
    if not has_photos and others and near:
        raise InputError(f"There is no image: {argument!r} is not a file or folder; did you mean {near!r}?")
    if has_photos and (others or near):
        hint = f"did you mean {near!r}?" if near else "correct it if it should be one."
        raise InputError(f"{argument!r} is not a file or folder; {hint} Use --text for an expression.")


def _nearest(name: str) -> str | None:
    """The existing name most like the missing one, in the same folder."""
    folder = Path(name).parent
    beside = [str(path) for path in folder.iterdir()] if folder.is_dir() else []
    near = get_close_matches(name, beside, n=1, cutoff=0.75)
    return near[0] if near else None


def _has_space(argument: str) -> bool:
    return len(argument.split()) != 1


def _from_stdin() -> Photo:
    content = sys.stdin.buffer.read()
    if not content:
        raise InputError(f"Standard input is empty; expected an image, as in `cat photo.jpg | deixis segment - {SAY}`.")
    return Photo(STDIN, content)


def _inside(folder: Path, recursive: bool) -> list[Path]:
    found = find_images(folder, recursive)
    if not found.images and found.folders:
        folders = f"{found.folders:,} {'folder' if found.folders == 1 else 'folders'}"
        raise InputError(f"The folder {str(folder)!r} has no images itself, only {folders}; --recursive enters them.")
    if not found.images:
        raise InputError(f"The folder {str(folder)!r} has no images; for a sentence of that name use --text.")
    if summary := found.summary():
        print(f"deixis: {folder}: {summary}", file=sys.stderr)
    return list(found.images)
