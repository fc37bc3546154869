"""Files of the Hugging Face hub: from its cache, or from the network where that is asked for."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub  # as a module: its names are imported when they are first used

from .errors import InputError


def cached(repository: str, file: str) -> Path | None:
    """The file in the hub's own cache, None where it is not there; no network is used."""
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, local_files_only=True))
    except (huggingface_hub.errors.LocalEntryNotFoundError, OSError):
        return None


def download(repository: str, file: str, revision: str | None = None, *, instead: str) -> Path:
    """The file in the hub's own cache, from the network where it is not there.

    Raises DeixisError with the reason where it cannot be had, and what may be done `instead`.
    """
    try:
        with _silence():
            return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
    except Exception as error:  # the hub's, the network's and the disk's errors have no common kind
        raise InputError(f"{file} of {repository} could not be downloaded ({_reason(error)}); {instead}.") from error


@contextmanager
def _silence() -> Iterator[None]:
    """The hub's log tells of every try; what came of them is told once, by us."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _reason(error: Exception) -> str:
    if isinstance(error, huggingface_hub.errors.LocalEntryNotFoundError):  # its own words are the same whatever was in the way
        if isinstance(error.__cause__, huggingface_hub.errors.OfflineModeIsEnabled):
            return "no network: HF_HUB_OFFLINE is set"
        return "no network" if error.__cause__ is None else f"no network: {_words(error.__cause__)}"
    if isinstance(error, huggingface_hub.errors.HfHubHTTPError) and error.response is not None:
        return f"the hub answered {error.response.status_code}"
    return _words(error)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
