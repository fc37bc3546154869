"""`deixis serve`: the web page, the HTTP API and the back end for Label Studio."""

import os
import sys
import warnings
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..errors import InputError
from .model_options import ModelOptions
from .options import parse

if TYPE_CHECKING:
    from ..server.label_studio.images import Images

TOKEN = "DEIXIS_TOKEN"
EPILOGUE = """
Open the address that is printed in a browser, or ask:

  curl -F image=@photo.jpg -F "sentence=the red cup" http://127.0.0.1:8000/v1/segment

The server listens on this machine only. On another address it needs a token, from the variable DEIXIS_TOKEN or the file
of --token-file; callers send it as `Authorization: Bearer TOKEN`. Label Studio: docs/label-studio.md."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ModelOptions):
    """Serve a web page, an HTTP API and a back end for Label Studio."""

    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "auto"
    """A model's name, or the folder of a checkpoint or of a run."""
    host: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = "127.0.0.1"
    """The address to listen on; any other than this machine's own needs a token."""
    port: int = 8000
    """The port to listen on; 0 for any free one."""
    host_name: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME")] = ()
    """A further name that the server is asked by, without a token; may be repeated."""
    token_file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A file that holds the token; by default the variable DEIXIS_TOKEN."""
    log: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where lines of JSON are appended, one for each request; by default stderr."""
    queue: int = 16
    """Questions that wait for the model; more are refused with status 503."""
    per_client: int | None = None
    """Questions of one address that wait, 0 for any number; more are refused with status 429. By default half of the
    queue where others can reach --host, otherwise any number."""
    megabytes: float = 20.0
    """The largest body of a request."""
    megapixels: float = 40.0
    """The largest image."""
    frames: int = 48
    """Frames of a clip that are answered; they are spread over its length."""
    seconds: float = 60.0
    """The longest time from a question to its answer."""
    cache_megabytes: float = 512.0
    """Encoded images that are kept for further sentences."""

    label_studio_url: Annotated[str | None, tyro.conf.arg(metavar="URL")] = None
    """Label Studio's own address, for images; by default the variable LABEL_STUDIO_URL."""
    label_studio_files: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The document root of its local files, to read them here; by default LOCAL_FILES_DOCUMENT_ROOT."""
    label_studio_storage: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="HOST")] = ()
    """A storage's host that Label Studio may redirect to for images; may be repeated."""
    sentence_field: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Where a task's sentence is; by default sentence, expression, text or caption."""
    default_sentence: Annotated[str | None, tyro.conf.arg(metavar="SENTENCE")] = None
    """The sentence of tasks without one."""
    threshold: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    """Replaces the threshold of the model's mask rule for Label Studio."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise InputError(f"The threshold is {self.threshold}; expected a number between 0 and 1.")
        if not 0 <= self.port < 65_536:
            raise InputError(f"The port is {self.port}; expected a number from 0 to 65535.")
        if self.queue < 1:
            raise InputError(f"The queue has {self.queue} places; expected 1 or more.")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host in {"127.0.0.1", "::1", "localhost"}

    @property
    def token(self) -> str | None:
        """Raises `InputError` where an address that others reach has none."""
        if self.token_file is not None:
            token = self.token_file.read_text(encoding="utf-8").strip()
        else:
            token = os.environ.get(TOKEN, "").strip()
        if token and len(token) < 16:
            raise InputError(
                f"The token has {len(token)} characters; expected 16 or more, as `openssl rand -hex 16` has."
            )
        if not token and not self.is_local:
            raise InputError(
                f"The address {self.host} can be reached by others, and there is no token; set the variable {TOKEN}, "
                "for example to what `openssl rand -hex 16` prints, or omit --host."
            )
        return token or None


def main(arguments: list[str]) -> int:
    options = parse(ServeOptions, arguments, "deixis serve", EPILOGUE)
    token = options.token
    from ..server.app import build
    from ..server.guard import Access
    from ..server.label_studio.backend import Backend, Settings, routes
    from ..server.limits import Limits
    from ..server.model_process import ModelProcess
    from ..server.running import listen, run
    from ..server.service import Service

    chosen = {one.name: getattr(options, one.name) for one in fields(Limits) if hasattr(options, one.name)}
    if options.per_client is None:
        chosen["per_client"] = 0 if options.is_local else (options.queue + 1) // 2
    limits = Limits(**chosen)
    access = Access(token=token, hosts=frozenset(name.lower() for name in options.host_name))
    images = _images(options, limits.bytes)
    settings = Settings(
        sentence_field=options.sentence_field, default_sentence=options.default_sentence, threshold=options.threshold
    )
    listening = listen(options.host, options.port)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore")  # every Prediction carries its notes
    log = partial(
        print, file=sys.stderr if options.log is None else options.log.open("a", encoding="utf-8"), flush=True
    )
    service = Service(ModelProcess(partial(options.load, options.model), limits), limits, log=log)
    host, port = listening.getsockname()[:2]
    print(f"deixis: http://{f'[{host}]' if ':' in host else host}:{port}/", file=sys.stderr, flush=True)
    run(build(service, access, routes(Backend(service, images, settings))), service, listening)
    return 0


def _images(options: ServeOptions, most_bytes: int) -> "Images":
    """Where images of Label Studio's tasks are; the variables have the names that its users know."""
    from ..server.label_studio.images import Images

    def variable(*names: str) -> str | None:
        return next((value for name in names if (value := os.environ.get(name))), None)

    files = options.label_studio_files or variable("LOCAL_FILES_DOCUMENT_ROOT")
    return Images(
        most_bytes=most_bytes,
        url=options.label_studio_url or variable("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"),
        token=variable("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN"),
        files=None if files is None else Path(files),
        storages=frozenset(options.label_studio_storage),
    )
