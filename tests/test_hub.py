"""Files of the hub: the cache needs no network, and a failed download raises one sentence."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from deixis.errors import ModelError
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
        (ABSENT, None, "the hub returned 404)"),
        (OSError(28, "No space left on device"), None, "[Errno 28] No space left on device"),
        (RuntimeError("first\nsecond."), None, "first second"),
        (TimeoutError(), None, "TimeoutError"),
    ],
)
def test_a_failed_download_raises_one_sentence_and_logs_nothing(
    error: Exception,
    cause: Exception | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing(monkeypatch, error, cause)
    with pytest.raises(ModelError) as caught:
        download("owner/model", "vocab.txt", instead="try again")
    assert str(caught.value).startswith(f"vocab.txt of owner/model could not be downloaded ({reason}")
    assert str(caught.value).endswith("); try again.")
    assert "\n" not in str(caught.value)
    assert caplog.records == []
    assert logging.getLogger("huggingface_hub").isEnabledFor(logging.ERROR)  # as before


def test_only_the_cache_is_read_where_nothing_may_be_downloaded(
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
