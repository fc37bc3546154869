"""The command line: one table from verb to function; a verb's file is imported when it is called."""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper

from ..errors import DeixisError, InputError, did_you_mean

# verb -> module in this folder (its function `main(arguments) -> exit code`), and one line of help
VERBS: dict[str, tuple[str, str]] = {
    "segment": ("segment", "segment what sentences refer to in photos"),
    "predict": ("predict", "segment what sentences refer to in many images, on one machine or a cluster"),
    "train": ("train", "train a recipe, or resume its run"),
    "adapt": ("adapt", "adapt a model to images of another kind that have no masks"),
    "evaluate": ("evaluate", "score a model, or a file of masks, under a named protocol"),
    "compare": ("compare", "compare two results by a paired bootstrap"),
    "data": ("data", "inspect, audit and convert data sets"),
    "toyland": ("toyland", "draw Toyland, our generated world, and write it as data sets"),
    "export": ("export", "write a model as ONNX or OpenVINO files that run without PyTorch"),
    "serve": ("serve", "serve a web page, an HTTP API and Label Studio"),
    "checkpoint": ("checkpoint", "convert and inspect checkpoints"),
}
# module -> the extra of this package that installs it
EXTRAS = {"accelerate": "train", "tensorboard": "train", "pyarrow": "parquet", "ray": "ray"} | dict.fromkeys(
    ("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client", "defusedxml"), "serve"
)


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; an error that users can cause is one sentence on stderr and exit code 2."""
    _replace_what_the_terminal_cannot_show()
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except DeixisError as error:
        print(f"deixis: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("deixis: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has closed it; Python would complain while shutting down
        return 0
    except OSError as error:
        place = f"{error.filename} cannot be used: " if error.filename else ""
        print(f"deixis: {place}{error.strerror or error}.", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        command = f"pip install 'deixis[{EXTRAS[module]}]'"
        print(f"deixis: This needs {module}, which is not installed; run `{command}`.", file=sys.stderr)
        return 2


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_help(), flush=True)
        return 0
    if arguments[0] == "--version":
        print(f"deixis {version('deixis')}", flush=True)
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        raise InputError(f"There is no command {verb!r}. {did_you_mean(verb, VERBS)}")
    from .memory import keep_freed

    keep_freed()
    return import_module(f".{VERBS[verb][0]}", __name__).main(rest)


def _replace_what_the_terminal_cannot_show() -> None:
    """Neither a letter that the terminal cannot show nor a closed output ends the work."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif name == "stdout" and isinstance(stream, TextIOWrapper):  # stderr writes such letters as escapes
            stream.reconfigure(errors="replace")


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {line}" for verb, (_, line) in VERBS.items())
    usage = "usage: deixis COMMAND [OPTIONS]\n\nSegment what a sentence refers to."
    return f"{usage}\n\n{verbs}\n\n`deixis COMMAND --help` shows the options of a command."
