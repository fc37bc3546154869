"""The checkpoints that papers' authors published on the Hugging Face hub, by their names for `deixis.load`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Stated by the authors for their code; their weights are used under their licences.
LICENCES = {
    "lavt": "GPL-3.0, as its authors state",
    "magnet": "AGPL-3.0, as its authors state",
    "sag": "not stated by its authors",
}

MAGNET_REPOSITORY = "yxchng/magnet_weights"
MAGNET_REVISION = "ad6e798363639c608b6745692ee7650d696b0f2c"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file on the hub, its training data, and its published overall IoU in percent by split.

    `dataset` and `split_by` are values of `--dataset` and `--split-by`, or None where the authors do not state them.
    `sha256` is None where it is not known before the first download.
    """

    system: str
    repository: str
    revision: str
    file: str
    dataset: str | None
    split_by: str | None
    sha256: str | None
    scores: Mapping[str, float]

    @property
    def page(self) -> str:
        """The address of the file's page."""
        return f"https://huggingface.co/{self.repository}"


PUBLISHED: dict[str, Published] = {
    "magnet-refcoco": Published(
        system="magnet",
        repository=MAGNET_REPOSITORY,
        revision=MAGNET_REVISION,
        file="magnet_refcoco.pth",
        dataset="refcoco",
        split_by="unc",
        sha256="4ca8f5fa81db9b7c897319735d833ad7154556b17818baa359f04a35f415b9a7",
        scores={"val": 75.24, "testA": 78.24, "testB": 71.05},
    ),
    "magnet-refcoco-plus": Published(
        system="magnet",
        repository=MAGNET_REPOSITORY,
        revision=MAGNET_REVISION,
        file="magnet_refcoco+.pth",
        dataset="refcoco+",
        split_by="unc",
        sha256="ef037f99d67916f58a2e825fd5274c16d8055255a45d7bbf68250019a9e98bed",
        scores={"val": 66.16, "testA": 71.32, "testB": 58.14},
    ),
    "magnet-gref-umd": Published(
        system="magnet",
        repository=MAGNET_REPOSITORY,
        revision=MAGNET_REVISION,
        file="magnet_refcocog_umd.pth",
        dataset="refcocog",
        split_by="umd",
        sha256="4bda67acedc6274066e97656297bc2be1792cd2bdcc0e242ee54cd395ac6a2f5",
        scores={"val": 65.36, "test": 66.03},
    ),
    "magnet-gref-google": Published(
        system="magnet",
        repository=MAGNET_REPOSITORY,
        revision=MAGNET_REVISION,
        file="magnet_refcocog_google.pth",
        dataset="refcocog",
        split_by="google",
        sha256="cc4a45f06f85be9b1aa670afecefa90a2cda393b1efe2a9c8a9bc8c070a88358",
        scores={"val": 63.13},
    ),
    # The file name says "all"; the splits it was trained on and its scores are not published.
    "magnet-all": Published(
        system="magnet",
        repository=MAGNET_REPOSITORY,
        revision=MAGNET_REVISION,
        file="magnet_all.pth",
        dataset=None,
        split_by=None,
        sha256="3ca130cbe0b0877eeb0ce6cbaea2daf1205cb4ebb852d154db9caad674ae1c86",
        scores={},
    ),
}
ALIASES = {"magnet-refcoco+": "magnet-refcoco-plus"}


def published_name(name: str) -> str | None:
    """The name in `PUBLISHED` of a name or an alias; None if there is no such checkpoint."""
    name = ALIASES.get(name, name)
    return name if name in PUBLISHED else None


def sha256_of(file: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def published_with(sha256: str) -> Published | None:
    """The published file with this digest; the name of a copy does not matter."""
    return next((entry for entry in PUBLISHED.values() if entry.sha256 == sha256), None)
