"""The images of Label Studio's tasks, from Label Studio itself, a folder, or the task; from no other host."""

import base64
import http.client
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ...errors import InputError
from ..requests import decode_base64

SECONDS = 20.0  # for one connection
ACCESS_LIVES = 240.0  # seconds; Label Studio's access tokens are valid for five minutes
STORAGES = ("s3", "gs", "azure-blob")


@dataclass(kw_only=True)
class Images:
    """`url` is the only host that is ever contacted, and the only one that is sent the token."""

    most_bytes: int
    url: str | None = None
    token: str | None = None
    files: Path | None = None  # the document root of local files
    storages: frozenset[str] = frozenset()  # hosts that Label Studio may redirect to for images, without the token
    _access: tuple[str, float] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.url is not None and urlsplit(self.url).scheme not in ("http", "https"):
            raise InputError(
                f"Label Studio's address is {self.url!r}; expected one that begins with http:// or https://."
            )
        if self.files is not None and (self.files.resolve() == Path("/") or not self.files.is_dir()):
            raise InputError(f"The folder of local files is {self.files}; expected a folder other than /.")

    def read(self, reference: Any, task_id: Any) -> bytes:
        """The image's bytes. Raises `InputError` where it cannot be had, or must not be."""
        if not isinstance(reference, str) or not reference:
            raise InputError("The task has no image under the name that the labelling config gives.")
        if reference.startswith("data:"):
            return decode_base64(reference)
        parts = urlsplit(reference)
        if parts.scheme in STORAGES:
            uri = base64.urlsafe_b64encode(reference.encode()).decode()
            return self._get(f"/tasks/{quote(str(task_id), safe='')}/presign/?fileuri={quote(uri)}")
        own = urlsplit(self.url or "")
        if (parts.scheme or parts.netloc) and (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
            raise InputError(
                f"The image is at {parts.netloc[:80]!r}; only Label Studio's own address is asked for images."
            )
        path = parts.path
        if own.path.rstrip("/") and path.startswith(own.path.rstrip("/") + "/"):
            path = path[len(own.path.rstrip("/")) :]
        if not path.startswith("/data/"):
            raise InputError(
                f"The image is {reference[:80]!r}; expected /data/upload/…, /data/local-files/… or a data URL."
            )
        if path.startswith("/data/local-files") and self.files is not None:
            return self._local(parse_qs(parts.query).get("d", [""])[-1])
        query = f"?{parts.query}" if parts.query else ""
        return self._get(quote(unquote(path)) + query)

    def _local(self, relative: str) -> bytes:
        assert self.files is not None
        root = self.files.resolve()
        try:
            place = (root / relative.lstrip("/")).resolve()
            if not place.is_relative_to(root):
                raise InputError("The image's path leaves the folder of local files; it is not read.")
            if place.stat().st_size > self.most_bytes:
                raise InputError(f"The image has more than {self.most_bytes / 1e6:g} MB; make it smaller first.")
            return place.read_bytes()
        except (OSError, ValueError):
            raise InputError("The image is not in the folder of local files.") from None

    def _get(self, target: str) -> bytes:
        status, content = self._call("GET", target, self._authorization())
        if status == 200:
            return content
        hint = {
            401: "create a personal access token in Label Studio and set LABEL_STUDIO_API_KEY to it",
            403: "the token's user cannot see this project",
            404: "the file is gone, or no local storage of the project covers it",
        }.get(status, "see its log")
        raise InputError(f"Label Studio answered {status} for the image; {hint}.")

    def _authorization(self) -> str:
        if self.token is None:
            raise InputError("There is no token for Label Studio; set LABEL_STUDIO_API_KEY.")
        if self.token.count(".") != 2:  # a personal access token is a JSON web token
            return f"Token {self.token}"
        if self._access is None or time.monotonic() > self._access[1]:
            body = json.dumps({"refresh": self.token}).encode()
            status, content = self._call("POST", "/api/token/refresh", None, body)
            if status != 200:
                raise InputError(f"Label Studio answered {status} to the personal access token; create a new one.")
            self._access = (json.loads(content)["access"], time.monotonic() + ACCESS_LIVES)
        return f"Bearer {self._access[0]}"

    def _call(
        self, method: str, target: str, authorization: str | None, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Status and body of one call to Label Studio."""
        if self.url is None:
            raise InputError("Label Studio's address is not known; set LABEL_STUDIO_URL.")
        headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
        status, content, location = self._request(method, self.url.rstrip("/") + target, headers, body)
        if location is None:
            return status, content
        storage = urlsplit(location).netloc
        if urlsplit(location).scheme not in ("http", "https") or storage not in self.storages:
            raise InputError(
                f"Label Studio redirects to the storage {storage[:80]!r}; permit it with --label-studio-storage "
                f"{storage[:80]}."
            )
        status, content, _ = self._request("GET", location, {}, None)
        return status, content

    def _request(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, bytes, str | None]:
        """Status, body, and where it redirects to."""
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection = kind(parts.netloc, timeout=SECONDS)
            try:
                connection.request(method, target, body, headers)
                answer = connection.getresponse()
                content = answer.read(self.most_bytes + 1)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise InputError(f"{parts.netloc[:80]} does not answer ({type(error).__name__}).") from None
        if len(content) > self.most_bytes:
            raise InputError(f"The image has more than {self.most_bytes / 1e6:g} MB; make it smaller first.")
        return answer.status, content, answer.getheader("Location") if 300 <= answer.status < 400 else None
