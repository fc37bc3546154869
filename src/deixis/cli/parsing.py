"""What the commands that read their arguments by argparse share."""

import argparse
from typing import NoReturn

from ..errors import InputError


class Parser(argparse.ArgumentParser):
    """argparse, because positional arguments may stand between options there; its errors become our sentences."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}; `{self.prog} --help` shows what is understood.")


def add_bootstrap_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--draws", type=int, default=10_000, help="draws of the bootstrap (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")


def check_bootstrap(options: argparse.Namespace) -> None:
    """Raises DeixisError before any work where nothing could be drawn."""
    if options.draws < 1:
        raise InputError(f"The number of draws is {options.draws}; at least one is wanted.")
    if options.seed < 0:
        raise InputError(f"The seed of the bootstrap is {options.seed}; 0 or more is wanted.")
