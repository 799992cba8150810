"""Execute the notebooks in batches.

python -m mmlib.batch --run mosi --dataset mosi      every notebook once, into papermill_runs/mosi
python -m mmlib.batch GRID                           every point of a grid
python -m mmlib.batch collect RUN                    all scores of a run as one table
python -m mmlib.batch compare A B                    which scores of two runs differ, and why
python -m mmlib.batch verify RUN                     some points again: do the numbers come out?
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median

import yaml
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mmlib import files
from mmlib.batch import engine, execute, grid, verify
from mmlib.batch.execute import Job, Outcome, up_to_date
from mmlib.batch.parameters import (
    Point,
    is_behind,
    plan,
    read_parameters,
    reads_results,
    refuse_unknown,
)
from mmlib.batch.progress import Progress, duration, labels
from mmlib.files import write_whole
from mmlib.scores import results, runs

SHOWN = 24  # lines of a printed table
ASK = 1000  # points; more are started only with --yes
JOBS = 8  # of SLURM, unless --workers says so
MOST = 63  # the exit code counts failures up to here


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns how many points failed (63: or more), 64 if nothing was started."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = {"collect": collect, "compare": compare, "verify": verified}
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        if arguments and arguments[0] in commands:
            return commands[arguments[0]](arguments[1:], console)
        return batch(arguments, console)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return os.EX_USAGE
    except KeyboardInterrupt:
        print("stopped; what is done is kept: the same command finishes the rest", file=sys.stderr)
        return 130


# The notebooks, or a grid of them


def batch(arguments: list[str], console: Console) -> int:
    """Execute what the command line names; returns how many points failed."""
    options = _options(arguments)
    points, run = _points(options)
    folder = results.folder(run)
    for name in sorted(one.stem for one in {point.notebook for point in points} if is_behind(one)):
        console.print(f"{name}: its .py has other cells than the .ipynb, which is what runs; "
                      f"make notebooks ONLY={name} takes them over")  # fmt: skip
    jobs = [execute.job(point, folder, own=bool(options.grid)) for point in points]
    keep = options.resume or (bool(options.grid) and not options.fresh)
    todo = [job for job in jobs if not (keep and up_to_date(job) and not _last(job))]
    workers = _workers(len(todo), options)
    if options.dry_run:
        return _preview(jobs, todo, workers, options, console)
    command = shlex.join(["python", "-m", "mmlib.batch", *arguments])
    said = execute.batch(command, resume=keep, timeout=options.timeout, warm=options.warm)
    with engine.only_driver(folder):
        outcomes = _run(todo, said, workers, options, console)
    if options.grid:
        _tell_grid(outcomes, len(jobs) - len(todo), run, console)
    else:
        report(outcomes, run, console)
    return min(sum(bool(outcome.error) for outcome in outcomes), MOST)


def _run(jobs: Sequence[Job], said: execute.Batch, workers: int, options, console) -> list[Outcome]:
    """All jobs, those that read results after the others."""
    waves = [job for job in jobs if not _last(job)], [job for job in jobs if _last(job)]
    if not jobs:
        return []
    where = (options.scheduler, workers, options.memory, jobs[0].folder)
    with (
        engine.connect(*where) as client,
        Progress(jobs, len(client.nthreads()) or workers, console) as progress,
    ):
        how = {"retries": options.retry, "tell": progress.tell}
        outcomes = engine.run(waves[0], said, client, **how)
        return outcomes + engine.run(waves[1], replace(said, resume=False), client, **how)


def _workers(points: int, options) -> int:
    """How many points run at once, as far as this process knows."""
    if options.scheduler == "slurm":
        return options.workers or max(1, min(points, JOBS))
    return options.workers or engine.how_many(points, options.memory)


def _last(job: Job) -> bool:
    return reads_results(job.point.notebook)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mmlib.batch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("grid", nargs="?", metavar="GRID", help="name below papermill_runs/grids, or a YAML file")
    add("--run", help="folder below papermill_runs (default: the grid's name, or `default`)")
    add("--dataset", help="data set for the notebooks that can take it")
    add("--params", type=Path, help="YAML file of parameters")
    add("--only", nargs="+", default=[], metavar="NN", help="e.g. 02_daf 08")
    add("--filter", action="append", default=[], metavar="KEY=VALUE", help="only these points")
    add("--workers", type=_positive, help=f"points at once (by GPUs, cores, memory; SLURM {JOBS})")
    add("--memory", type=float, default=4, metavar="GB", help="that one point needs")
    add("--scheduler", metavar="ADDRESS", help="of a running Dask scheduler, or `slurm`")
    add("--retry", type=int, default=0, help="further attempts at a point that failed")
    add("--timeout", type=float, metavar="SECONDS", help="for one point")
    add("--warm", action="store_true", help="start a worker's next kernel while a point runs")
    add("--dry-run", action="store_true", help="say what would be done")
    add("--yes", action="store_true", help=f"start more than {ASK} points")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="keep what is up to date (a grid's way)")
    how.add_argument("--fresh", action="store_true", help="execute everything (else the way)")
    options = parser.parse_args(arguments)
    if options.grid and (options.dataset or options.params or options.only):
        parser.error("a grid holds its own notebooks and parameters: --filter chooses among them")
    if options.filter and not options.grid:
        parser.error("--filter chooses among the points of a grid")
    return options


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return int(text)


def _points(options: argparse.Namespace) -> tuple[list[Point], str]:
    """The checked points and the name of their run."""
    if not options.grid:
        given = read_parameters(options.params) if options.params else {}
        run = options.run or "default"
        results.folder(run)
        return plan(run, options.dataset, given, options.only), run
    path = grid.find(options.grid)
    said, run = grid.read(path), options.run or path.stem
    results.folder(run)
    wanted = dict(_filter(text) for text in options.filter)
    known = {"notebook", *(name for names in said.notebooks.values() for name in names)}
    refuse_unknown(wanted, known, "--filter")
    if not wanted:
        _ask(said.count(), said, options)
    points = [point for point in said.points(run) if _wanted(point, wanted)]
    _ask(len(points), said, options)
    if not points:
        raise ValueError(f"{path}: no point is left; look at exclude and --filter")
    return points, run


def _ask(count: int, said: grid.Grid, options: argparse.Namespace) -> None:
    """ValueError with an estimate if there are many points and no --yes."""
    if count > ASK and not options.yes:
        workers = _workers(count, options)
        cost = _cost([notebook.stem for notebook in said.notebooks]) * count / workers
        raise ValueError(
            f"{count} points, about {duration(cost)} on {workers} workers: "
            "give --yes to start them, or choose some by --filter"
        )


def _filter(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    with suppress(yaml.YAMLError):
        if equals:
            return name, yaml.safe_load(value)
    raise ValueError(f"--filter {text}: write KEY=VALUE")


def _wanted(point: Point, wanted: dict[str, object]) -> bool:
    values = {**point.parameters, "notebook": point.notebook.stem}
    return all(name in values and values[name] == value for name, value in wanted.items())


def _cost(notebooks: Sequence[str]) -> float:
    """Seconds a point took so far, a minute if these notebooks were never run."""
    records = (runs.manifest(path.parent) for path in files.RUNS.glob("*/*/manifest.json"))
    took = [
        r["seconds"] for r in records if r.get("state") == "done" and r["notebook"] in notebooks
    ]
    return median(took) if took else 60.0


def _preview(jobs, todo, workers: int, options, console: Console) -> int:
    """Print the points, what is to be done, and SLURM's script; returns 0."""
    states = {job.name: "to run" for job in todo}
    shown = Table("point", "state", "folder", box=SIMPLE)
    for job, label in islice(zip(jobs, labels(jobs), strict=True), SHOWN):
        shown.add_row(label, states.get(job.name, "up to date"), job.name)
    console.print(shown)
    cost = _cost([job.point.notebook.stem for job in jobs]) * len(todo) / workers
    console.print(
        f"{len(todo)} of {len(jobs)} points to run, about {duration(cost)} on {workers} workers"
    )
    if options.scheduler == "slurm":
        with engine.slurm(0, options.memory) as cluster:
            print(cluster.job_script())
    return 0


# Telling what came out


def _tell_grid(outcomes: list[Outcome], kept: int, run: str, console: Console) -> None:
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        console.print(f"failed: {outcome.job.name}: {outcome.error}", soft_wrap=True)
        console.print(f"  {outcome.folder.relative_to(files.ROOT)}", soft_wrap=True)
    done = len(outcomes) - len(failed)
    console.print(f"{run}: {done} done, {kept} were up to date, {len(failed)} failed")
    console.print(f"The table: python -m mmlib.batch collect {run}")


def report(outcomes: list[Outcome], run: str, console: Console) -> None:
    """Print scores, the time and data set of each notebook, and where to look next."""
    notebooks = Table("notebook", "data", "seconds", "state", box=SIMPLE)
    outcomes = sorted(outcomes, key=lambda outcome: outcome.job.name)
    for outcome in outcomes:
        state, point = outcome.error or outcome.state, outcome.job.point
        notebooks.add_row(
            point.notebook.stem, point.dataset or "-", f"{outcome.seconds:.0f}", state
        )
    executed = {outcome.job.name for outcome in outcomes}
    if run in results.runs():
        rows = results.load(run)
        _print_scores(rows[rows["notebook"].isin(executed)], run, console)
    console.print(notebooks)
    console.print("Where to look next:")
    for path in (*(o.folder for o in outcomes[-1:]), results.folder(run), files.FIGURES):
        if path.exists():
            console.print(f"  {path.relative_to(files.ROOT)}", soft_wrap=True)


def _print_scores(rows, run: str, console: Console) -> None:
    scores = results.table(rows).reset_index().drop(columns="notebook").drop_duplicates()
    if scores.empty:
        return
    console.print(f"Test scores of {run}: mean over seeds [95 % interval over videos and seeds]")
    _print_frame(scores, console)


def _print_frame(frame, console: Console) -> None:
    shown = Table(*map(str, frame.columns), box=SIMPLE, padding=(0, 1, 0, 0))
    for line in frame.head(SHOWN).itertuples(index=False):
        shown.add_row(*(f"{x:.4g}" if isinstance(x, float) else str(x) for x in line))
    console.print(shown)
    if len(frame) > SHOWN:
        console.print(f"and {len(frame) - SHOWN} more lines")


# Tables of runs


def collect(arguments: list[str], console: Console) -> int:
    """Write all rows of a run as CSV and print the test scores of a few metrics."""
    parser = argparse.ArgumentParser(prog="python -m mmlib.batch collect")
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, help="default: table.csv in the run's folder")
    options = parser.parse_args(arguments)
    found = runs.collect(options.run)
    out = options.out or results.folder(options.run) / "table.csv"
    write_whole(out, found.to_csv(index=False))
    _print_frame(runs.scores(found).drop(columns="notebook"), console)
    console.print(f"{len(found)} rows in {out}", soft_wrap=True)
    return 0


def compare(arguments: list[str], console: Console) -> int:
    """Print how two runs differ: scores, then code, versions and data."""
    parser = argparse.ArgumentParser(prog="python -m mmlib.batch compare")
    parser.add_argument("a")
    parser.add_argument("b")
    options = parser.parse_args(arguments)
    found = runs.compare_runs(options.a, options.b)
    for verdict, count in found["verdict"].value_counts().items():
        console.print(f"{count:6} rows: {verdict}")
    told = found[found["verdict"].isin(("differs", "one seed"))]
    if len(told):
        columns = ["dataset", "model", "variant", "metric", *found.columns[len(results.PLACE) :]]
        _print_frame(told[[c for c in columns if c in told and told[c].notna().any()]], console)
    origin = runs.differences(options.a, options.b)
    console.print("Made by the same code, versions and data" if origin.empty else "Made by others:")
    if len(origin):
        _print_frame(origin, console)
    return 0


def verified(arguments: list[str], console: Console) -> int:
    """Execute some points of a run again; returns how many metrics differ."""
    parser = argparse.ArgumentParser(prog="python -m mmlib.batch verify")
    parser.add_argument("run")
    parser.add_argument("--points", type=_positive, default=3, help="how many, at random")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--workers", type=_positive)
    options = parser.parse_args(arguments)
    chosen = verify.choose(options.run, options.points, options.seed)
    with verify.scratch() as folder:
        jobs = [verify.again(record, Path(folder)) for record in chosen.values()]
        workers = options.workers or engine.how_many(len(jobs), 4)
        where, said = (None, workers, 4, Path(folder)), verify.start(options.run)
        with engine.connect(*where) as client, Progress(jobs, workers, console) as progress:
            outcomes = engine.run(jobs, said, client, tell=progress.tell)
        found = verify.report(options.run, chosen, jobs, outcomes)
    _print_frame(found, console)
    return min(int((found["verdict"] == "differs").sum()), MOST)


if __name__ == "__main__":
    sys.exit(main())
