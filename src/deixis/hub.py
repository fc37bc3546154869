"""Files of the Hugging Face hub: from its cache, or from the network where the caller allows it."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub  # as a module, which imports its parts when they are first used

from .errors import ModelError


def cached(repository: str, file: str) -> Path | None:
    """The file in the hub's cache, or None if it is not there; the network is not used."""
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, local_files_only=True))
    except OSError:
        return None


def download(repository: str, file: str, revision: str | None = None, *, instead: str) -> Path:
    """The file in the hub's cache, downloaded if it is not there.

    Raises ModelError with the reason why the file cannot be downloaded, and what to do `instead`.
    """
    try:
        with _silence():
            return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
    except Exception as error:  # the hub's, the network's and the disk's errors share no base class
        raise ModelError(f"{file} of {repository} could not be downloaded ({_reason(error)}); {instead}.") from error


def snapshot(repository: str, files: Sequence[str], *, download: bool = False) -> Path | None:
    """The folder of a repository in the hub's cache; with `download` what is missing is fetched, otherwise None.

    `files` are patterns. Raises ModelError with the reason why the repository cannot be downloaded.
    """
    options: dict[str, Any] = {"allow_patterns": list(files)}
    try:
        with _silence():
            return Path(huggingface_hub.snapshot_download(repository, local_files_only=not download, **options))
    except Exception as error:  # as above
        if not download and isinstance(error, OSError):
            return None
        raise ModelError(f"{repository} could not be downloaded ({_reason(error)}).") from error


def push(folder: Path, repository: str, files: Sequence[str], *, private: bool, token: str | None) -> str:
    """Create the repository where it is missing, upload the folder's files, and return the address of its page.

    Raises ModelError with the reason why it cannot be uploaded.
    """
    try:
        with _silence():
            api = huggingface_hub.HfApi(token=token)
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=list(files))
    except Exception as error:  # as above
        raise ModelError(f"{folder} could not be uploaded to {repository} ({_reason(error)}).") from error
    return f"https://huggingface.co/{repository}"


@contextmanager
def _silence() -> Iterator[None]:
    """Mute the hub's log of every attempt; our error reports the outcome once."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    errors = huggingface_hub.errors
    if isinstance(error, errors.LocalEntryNotFoundError):  # its text is the same for every cause
        if isinstance(error.__cause__, errors.OfflineModeIsEnabled):
            return "no network: HF_HUB_OFFLINE is set"
        return "no network" if error.__cause__ is None else f"no network: {_in_one_line(error.__cause__)}"
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return f"the hub returned {error.response.status_code}"
    return _in_one_line(error)


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
