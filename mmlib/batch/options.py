"""The command line of `python -m mmlib.batch`; without a command word it starts a batch."""

import argparse
import re
import shlex
import socket
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from math import isfinite
from typing import NoReturn

from mmlib.files import expanded

ASK = 1000  # points; more need --yes
JOBS = 8  # of SLURM, unless --workers says so
MEMORY = 4  # GB that a point needs, unless --memory says so
PROGRAM = "python -m mmlib.batch"


def at_least(least: float, kind: type = int) -> Callable[[str], float]:
    """A parser of an option: a finite number of at least `least`."""

    def read(text: str) -> float:
        with suppress(ValueError, OverflowError):
            if (value := kind(text)) >= least and isfinite(value):
                return value
        whole = "whole " if kind is int else ""
        raise argparse.ArgumentTypeError(f"{text!r} is no {whole}number from {least:g} on")

    return read


def address(text: str) -> str:
    """Parser of an option: an address of this machine at which a process can listen."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        socket.create_server((text, 0), family=family).close()
    except (OSError, UnicodeError) as error:
        shown = f"{text[:60]!r} is no address of this machine"
        raise argparse.ArgumentTypeError(shown) from error
    return text


POSITIVE = {"type": at_least(1)}
FLAG = {"action": "store_true"}
OPTIONS: dict[str, dict[str, dict]] = {
    "batch": {
        "grid": {"nargs": "?", "metavar": "GRID", "help": "of papermill_runs/grids, or a file"},
        "--run": {"help": "folder below papermill_runs (default: the grid's name, or `default`)"},
        "--dataset": {"help": "data set for the notebooks that can take it"},
        "--params": {"type": expanded, "help": "YAML file of parameters"},
        "--only": {"nargs": "+", "default": [], "metavar": "NN", "help": "e.g. 02_daf 08"},
        "--filter": {"action": "append", "default": [], "metavar": "KEY=VALUE",
                     "help": "only these points of a grid"},
        "--workers": {**POSITIVE, "help": f"at once (by GPUs, cores, memory; SLURM {JOBS})"},
        "--memory": {"type": at_least(0.01, float), "default": MEMORY, "metavar": "GB",
                     "help": "that one point needs"},
        "--scheduler": {"metavar": "ADDRESS", "help": "of a running Dask scheduler, or `slurm`"},
        "--host": {"type": address, "metavar": "ADDRESS",
                   "help": "where workers reach the scheduler (default: loopback)"},
        "--retry": {"type": at_least(0), "default": 0, "help": "more attempts at what failed"},
        "--timeout": {"type": at_least(0.1, float), "metavar": "SECONDS", "help": "for one point"},
        "--dry-run": {**FLAG, "help": "say what would be done"},
        "--yes": {**FLAG, "help": f"start more than {ASK} points"},
        "--resume": {**FLAG, "help": "keep what is up to date (a grid's way)"},
        "--fresh": {**FLAG, "help": "execute everything (else the way)"},
    },
    "collect": {
        "run": {},
        "--out": {"type": expanded, "help": "default: table.csv in the run's folder"},
    },
    "compare": {"a": {}, "b": {}},
    "verify": {
        "run": {},
        "--points": {**POSITIVE, "default": 3, "help": "how many, at random"},
        "--seed": {"type": at_least(0), "default": 0, "help": "of the choice"},
        "--workers": POSITIVE,
    },
}  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; --help lists the options")


def of(arguments: list[str], descriptions: dict[str, str]) -> argparse.Namespace:
    """Parsed options with `command` and `line`; ValueError if they are invalid."""
    for before, text in pairwise(["GRID", *arguments]):
        if not text or re.fullmatch("--[a-z-]+=", text):
            raise ValueError(f"{text or before} is empty: give it a value or leave it out")
    named = arguments[:1] if arguments[:1] and arguments[0] in OPTIONS else []
    command = [*named, "batch"][0]
    parser = _Parser(
        prog=" ".join([PROGRAM, *named]),
        description=descriptions[command],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, kinds in OPTIONS[command].items():
        parser.add_argument(name, **kinds)
    options = parser.parse_args(arguments[len(named) :])
    options.command, options.line = command, shlex.join([*PROGRAM.split(), *arguments])
    if command == "batch":
        _refuse_mixed(options)
    return options


def _refuse_mixed(options: argparse.Namespace) -> None:
    if options.grid and (options.dataset or options.params or options.only):
        raise ValueError("a grid has notebooks and parameters of its own: --filter chooses points")
    if options.filter and not options.grid:
        raise ValueError("--filter chooses among the points of a grid: name one")
    if options.resume and options.fresh:
        raise ValueError("--resume keeps the results that --fresh would replace: give one")
