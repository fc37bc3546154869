"""`--compiled`, for the commands that answer."""

import argparse
import sys


def add_compiled_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compiled", action="store_true", help="minutes for the first answer, less for the others")


def tell_of_compiling(options: argparse.Namespace) -> None:
    """Minutes without a word would look like a fault."""
    if options.compiled:
        print("deixis: the model is compiled for the first answer; a large one takes some minutes", file=sys.stderr)
