"""Execute the notebooks in batches.

python -m mmlib.batch --run mosi --dataset mosi      every notebook once, into papermill_runs/mosi
python -m mmlib.batch GRID                           every point of a grid
python -m mmlib.batch collect RUN                    all scores of a run as one table
python -m mmlib.batch compare A B                    which scores of two runs differ, and why
python -m mmlib.batch verify RUN                     some points again: do the numbers come out?
"""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice, pairwise
from math import isfinite
from pathlib import Path
from statistics import median
from typing import NoReturn

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from yaml import YAMLError

from mmlib import files
from mmlib.batch import engine, execute, grid, verify
from mmlib.batch.execute import Job, Outcome, up_to_date
from mmlib.batch.pairs import advice
from mmlib.batch.parameters import Point, plan, read_parameters, reads_results
from mmlib.batch.progress import Progress, duration, labels
from mmlib.batch.reader import parse
from mmlib.files import refuse_unknown, write_whole
from mmlib.scores import results, runs

SHOWN = 24  # lines of a printed table
ASK = 1000  # points; more are started only with --yes
JOBS = 8  # of SLURM, unless --workers says so
MEMORY = 4  # GB that a point needs, unless --memory says so
RAW = argparse.RawDescriptionHelpFormatter
MOST = 63  # the exit code counts failures up to here


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns how many points failed (63: or more), 64 if nothing was started."""
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        options = _options(arguments)
        return options.command(options, console)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return os.EX_USAGE
    except KeyboardInterrupt:
        print("stopped; what is done is kept: the same command finishes the rest", file=sys.stderr)
        return 130


def _options(arguments: list[str]) -> argparse.Namespace:
    """What the command line says; where its first word is no command, it describes a batch."""
    for before, text in pairwise(["GRID", *arguments]):
        if not text or re.fullmatch("--[a-z-]+=", text):
            raise ValueError(f"{text or before} is empty: give it a value or leave it out")
    parser = _Parser(prog="python -m mmlib.batch")
    parser.set_defaults(line=shlex.join(["python", "-m", "mmlib.batch", *arguments]))
    commands = parser.add_subparsers()
    _table_options(commands)
    is_named = arguments[:1] and arguments[0] in commands.choices
    batch = commands.add_parser("batch", prog=parser.prog, description=__doc__, formatter_class=RAW)
    _batch_options(batch)
    options = parser.parse_args(arguments if is_named else ["batch", *arguments])
    if options.command is execute_batch:
        _refuse_mixed(batch, options)
    return options


def _refuse_mixed(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Leave with one line where options of a grid and of a plain run stand together."""
    if options.grid and (options.dataset or options.params or options.only):
        parser.error("a grid holds its own notebooks and parameters: --filter chooses among them")
    if options.filter and not options.grid:
        parser.error("--filter chooses among the points of a grid")


def _table_options(commands) -> None:
    parsers = []
    for name, command in (("collect", print_table), ("compare", print_comparison),
                          ("verify", execute_again)):  # fmt: skip
        parsers.append(commands.add_parser(name, description=command.__doc__))
        parsers[-1].set_defaults(command=command)
    collect, compare, verify = parsers
    collect.add_argument("run")
    collect.add_argument("--out", type=Path, help="default: table.csv in the run's folder")
    compare.add_argument("a")
    compare.add_argument("b")
    verify.add_argument("run")
    verify.add_argument("--points", type=_at_least(1), default=3, help="how many, at random")
    verify.add_argument("--seed", type=_at_least(0), default=0, help="of the choice")
    verify.add_argument("--workers", type=_at_least(1))


def _batch_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=execute_batch)
    add = parser.add_argument
    add("grid", nargs="?", metavar="GRID", help="name below papermill_runs/grids, or a YAML file")
    add("--run", help="folder below papermill_runs (default: the grid's name, or `default`)")
    add("--dataset", help="data set for the notebooks that can take it")
    add("--params", type=Path, help="YAML file of parameters")
    add("--only", nargs="+", default=[], metavar="NN", help="e.g. 02_daf 08")
    add("--filter", action="append", default=[], metavar="KEY=VALUE", help="only these points")
    add(
        "--workers",
        type=_at_least(1),
        help=f"points at once (by GPUs, cores, memory; SLURM {JOBS})",
    )
    add(
        "--memory",
        type=_at_least(0.01, float),
        default=MEMORY,
        metavar="GB",
        help="that one point needs",
    )
    add("--scheduler", metavar="ADDRESS", help="of a running Dask scheduler, or `slurm`")
    add("--host", metavar="ADDRESS", help="where workers reach the scheduler (default: loopback)")
    add("--retry", type=_at_least(0), default=0, help="further attempts at a point that failed")
    add("--timeout", type=_at_least(0.1, float), metavar="SECONDS", help="for one point")
    add("--warm", action="store_true", help="does nothing: there are no warm kernels any more")
    add("--dry-run", action="store_true", help="say what would be done")
    add("--yes", action="store_true", help=f"start more than {ASK} points")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="keep what is up to date (a grid's way)")
    how.add_argument("--fresh", action="store_true", help="execute everything (else the way)")


class _Parser(argparse.ArgumentParser):
    """Tells of a mistake in one line, by the exit code of a batch of which nothing was started."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; --help lists the options")


def _at_least(least: float, kind: type = int) -> Callable[[str], float]:
    """Reads an option: a finite number that is not below `least`."""

    def read(text: str) -> float:
        with suppress(ValueError, OverflowError):
            if (value := kind(text)) >= least and isfinite(value):
                return value
        whole = "whole " if kind is int else ""
        raise argparse.ArgumentTypeError(f"{text!r} is no {whole}number from {least:g} on")

    return read


# The notebooks, or a grid of them


def execute_batch(options: argparse.Namespace, console: Console) -> int:
    """Execute what the command line names; returns how many points failed."""
    if options.warm:
        print("--warm does nothing any more: each point starts its kernel", file=sys.stderr)
    points, run = _points(options)
    folder = results.folder(run)
    for line in filter(None, map(advice, sorted({point.notebook for point in points}))):
        console.print(line)
    jobs = [execute.job(point, folder, own=bool(options.grid)) for point in points]
    keep = options.resume or (bool(options.grid) and not options.fresh)
    todo = [job for job in jobs if not (keep and up_to_date(job) and not _last(job))]
    workers = _workers(len(todo), options)
    if options.dry_run:
        return _preview(jobs, todo, workers, options, console)
    batch = execute.new_batch(options.line, resume=keep, timeout=options.timeout)
    with engine.only_driver(folder):
        outcomes = _run(todo, batch, workers, options, console)
    if options.grid:
        _tell_grid(outcomes, len(jobs) - len(todo), run, console)
    else:
        _tell_notebooks(outcomes, run, console)
    return min(sum(bool(outcome.error) for outcome in outcomes), MOST)


def _run(
    jobs: Sequence[Job], batch: execute.Batch, workers: int, options, console: Console
) -> list[Outcome]:
    """All jobs, those that read results after the others."""
    waves = [job for job in jobs if not _last(job)], [job for job in jobs if _last(job)]
    if not jobs:
        return []
    where = (options.scheduler, workers, options.memory, jobs[0].folder, options.host)
    with (
        engine.connect(*where) as client,
        Progress(jobs, len(client.nthreads()) or workers, console) as progress,
    ):
        how = {"retries": options.retry, "tell": progress.tell}
        outcomes = engine.run(waves[0], batch, client, **how)
        return outcomes + engine.run(waves[1], replace(batch, resume=False), client, **how)


def _last(job: Job) -> bool:
    return reads_results(job.point.notebook)


def _workers(points: int, options: argparse.Namespace) -> int:
    """How many points run at once, as far as this process knows."""
    if options.workers or options.scheduler == "slurm":
        return max(1, min(points, options.workers or JOBS))
    return engine.how_many(points, options.memory)


def _points(options: argparse.Namespace) -> tuple[list[Point], str]:
    """The checked points and the name of their run."""
    if not options.grid:
        given = read_parameters(options.params) if options.params else {}
        run = options.run or "default"
        results.folder(run)
        return plan(run, options.dataset, given, options.only), run
    path = grid.find(options.grid)
    file, run = grid.read(path), options.run or path.stem
    results.folder(run)
    wanted = dict(_filter(text) for text in options.filter)
    known = {"notebook", *(name for names in file.notebooks.values() for name in names)}
    refuse_unknown("parameter", wanted, sorted(known), where="--filter")
    if not wanted:
        _ask(file.count(), file, options)
    points = [point for point in file.points(run) if _is_wanted(point, wanted)]
    _ask(len(points), file, options)
    if not points:
        raise ValueError(f"{path}: no point is left; look at exclude and --filter")
    return points, run


def _ask(count: int, file: grid.Grid, options: argparse.Namespace) -> None:
    """ValueError with an estimate if there are many points and no --yes."""
    if count > ASK and not options.yes:
        workers = _workers(count, options)
        cost = _cost([notebook.stem for notebook in file.notebooks]) * count / workers
        raise ValueError(
            f"{count} points, about {duration(cost)} on {workers} workers: "
            "give --yes to start them, or choose some by --filter"
        )


def _filter(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    reason = "no ="
    try:
        if equals:
            return name, parse(value)[1]
    except (ValueError, YAMLError) as error:
        reason = getattr(error, "problem", None) or files.reason_of(error)
    raise ValueError(f"--filter {text}: write KEY=VALUE ({reason})")


def _is_wanted(point: Point, wanted: dict[str, object]) -> bool:
    values = {**point.parameters, "notebook": point.notebook.stem}
    return all(name in values and values[name] == value for name, value in wanted.items())


def _cost(notebooks: Sequence[str]) -> float:
    """Median of the seconds a point took so far, a minute if these notebooks were never run."""
    records = (runs.manifest(path.parent) for path in files.RUNS.glob("*/*/manifest.json"))
    done = [r for r in records if r.get("state") == "done" and r.get("notebook") in notebooks]
    took = [record["seconds"] for record in done if "seconds" in record]
    return median(took) if took else 60.0


def _preview(
    jobs: Sequence[Job], todo: Sequence[Job], workers: int, options, console: Console
) -> int:
    """Print the points, what is to be done, and SLURM's script; returns 0."""
    names = {job.name for job in todo}
    records = runs.manifests(jobs[0].folder.name).values()
    earlier = [(record["notebook"], record["parameters"]) for record in records]
    shown = Table("point", "state", "folder", box=SIMPLE)
    for job, label in islice(zip(jobs, labels(jobs), strict=True), SHOWN):
        is_stale = (job.point.notebook.stem, dict(job.point.parameters)) in earlier
        state = "stale, to run" if is_stale and not up_to_date(job) else "to run"
        shown.add_row(label, state if job.name in names else "up to date", job.name)
    console.print(shown)
    cost = _cost([job.point.notebook.stem for job in jobs]) * len(todo) / workers
    console.print(
        f"{len(todo)} of {len(jobs)} points to run, about {duration(cost)} on {workers} workers"
    )
    if options.scheduler == "slurm":
        with engine.slurm(0, options.memory, options.host) as cluster:
            print(cluster.job_script())
    return 0


def execute_again(options: argparse.Namespace, console: Console) -> int:
    """Execute some points of a run again; returns how many metrics differ."""
    chosen = verify.choose(options.run, options.points, options.seed)
    with verify.scratch() as folder:
        jobs = [verify.again(options.run, record, Path(folder)) for record in chosen.values()]
        workers = options.workers or engine.how_many(len(jobs), MEMORY)
        batch = execute.new_batch(options.line, resume=False)
        with (
            engine.connect(None, workers, MEMORY, Path(folder)) as client,
            Progress(jobs, workers, console) as progress,
        ):
            outcomes = engine.run(jobs, batch, client, tell=progress.tell)
        table = verify.verdicts(options.run, chosen, jobs, outcomes)
    _print_frame(table, console)
    return min(int((table["verdict"] == "differs").sum()), MOST)


# Telling what came out


def _tell_grid(outcomes: list[Outcome], kept: int, run: str, console: Console) -> None:
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        console.print(f"failed: {outcome.job.name}: {outcome.error}", soft_wrap=True)
        console.print(f"  {outcome.folder.relative_to(files.ROOT)}", soft_wrap=True)
    done = len(outcomes) - len(failed)
    console.print(f"{run}: {done} done, {kept} were up to date, {len(failed)} failed")
    console.print(f"The table: python -m mmlib.batch collect {run}")


def _tell_notebooks(outcomes: list[Outcome], run: str, console: Console) -> None:
    """Print scores, the time and data set of each notebook, and where to look next."""
    notebooks = Table("notebook", "data", "seconds", "state", box=SIMPLE)
    outcomes = sorted(outcomes, key=lambda outcome: outcome.job.name)
    for outcome in outcomes:
        state, point = outcome.error or outcome.state, outcome.job.point
        notebooks.add_row(
            point.notebook.stem, point.dataset or "-", f"{outcome.seconds:.0f}", state
        )
    rows = results.load(run) if run in results.runs() else pd.DataFrame(columns=results.ROW)
    executed = rows[rows["notebook"].isin({outcome.job.name for outcome in outcomes})]
    scores = results.table(executed).reset_index().drop(columns="notebook").drop_duplicates()
    if len(scores):
        console.print(f"Test scores of {run}: mean [95 % interval over videos and seeds]")
        _print_frame(scores, console)
    console.print(notebooks)
    console.print("Where to look next:")
    for path in (*(o.folder for o in outcomes[-1:]), results.folder(run), files.FIGURES):
        if path.exists():
            console.print(f"  {path.relative_to(files.ROOT)}", soft_wrap=True)


def _print_frame(frame: pd.DataFrame, console: Console) -> None:
    shown = Table(*map(str, frame.columns), box=SIMPLE, padding=(0, 1, 0, 0))
    for line in frame.head(SHOWN).itertuples(index=False):
        shown.add_row(*(f"{x:.4g}" if isinstance(x, float) else str(x) for x in line))
    console.print(shown)
    if len(frame) > SHOWN:
        console.print(f"and {len(frame) - SHOWN} more lines")


def print_table(options: argparse.Namespace, console: Console) -> int:
    """Write all rows of a run as CSV and print the test scores of a few metrics."""
    table = runs.collect(options.run)
    out = options.out or results.folder(options.run) / "table.csv"
    write_whole(out, table.to_csv(index=False))
    _print_frame(runs.scores(table).drop(columns="notebook"), console)
    console.print(f"{len(table)} rows in {out}", soft_wrap=True)
    return 0


def print_comparison(options: argparse.Namespace, console: Console) -> int:
    """Print how two runs differ: scores, then code, versions and data."""
    table = runs.compare_runs(options.a, options.b)
    for verdict, count in table["verdict"].value_counts().items():
        console.print(f"{count:6} rows: {verdict}")
    shown = table[table["verdict"].isin(("differs", "one seed"))]
    if len(shown):
        columns = ["dataset", "model", "variant", "metric", *table.columns[len(results.PLACE) :]]
        _print_frame(shown[[c for c in columns if c in shown and shown[c].notna().any()]], console)
    origin = runs.differences(options.a, options.b)
    console.print("Made by the same code, versions and data" if origin.empty else "Made by others:")
    if len(origin):
        _print_frame(origin, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
