"""Files of the hub: what is in its cache needs no network, and why a file cannot be had is one sentence."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from deixis.errors import DeixisError
from deixis.hub import cached, download


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, cause: Exception | None = None) -> None:
    def fail(*_: object, **__: object) -> str:
        logging.getLogger("huggingface_hub.utils._http").error("Retrying in 1s.")
        raise error from cause

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)


ANSWER: Any = SimpleNamespace(status_code=404, headers={}, request=None)
ABSENT = HfHubHTTPError("404 Client Error.\n\nEntry Not Found", response=ANSWER)


@pytest.mark.parametrize(
    ("error", "cause", "reason"),
    [
        (LocalEntryNotFoundError("Please check."), OSError("Name or service not known"), "no network: Name or service"),
        (LocalEntryNotFoundError("Please check."), OfflineModeIsEnabled("x"), "no network: HF_HUB_OFFLINE is set"),
        (LocalEntryNotFoundError("Please check."), None, "no network"),
        (ABSENT, None, "the hub answered 404)"),
        (OSError(28, "No space left on device"), None, "[Errno 28] No space left on device"),
        (RuntimeError("first\nsecond."), None, "first second"),
        (TimeoutError(), None, "TimeoutError"),
    ],
)
def test_why_a_file_cannot_be_downloaded_is_one_sentence_and_nothing_is_logged(
    error: Exception,
    cause: Exception | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing(monkeypatch, error, cause)
    with pytest.raises(DeixisError) as told:
        download("owner/model", "vocab.txt", instead="try again")
    assert str(told.value).startswith(f"vocab.txt of owner/model could not be downloaded ({reason}")
    assert str(told.value).endswith("); try again.")
    assert "\n" not in str(told.value)
    assert caplog.records == []
    assert logging.getLogger("huggingface_hub").isEnabledFor(logging.ERROR)  # others hear it as before


def test_the_cache_alone_is_asked_where_nothing_may_be_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[dict[str, object]] = []

    def found(*_: object, **options: object) -> str:
        asked.append(options)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", found)
    assert cached("owner/model", "vocab.txt") == tmp_path
    assert asked == [{"local_files_only": True}]
    failing(monkeypatch, LocalEntryNotFoundError("not there"))
    assert cached("owner/model", "vocab.txt") is None
