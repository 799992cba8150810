"""Execute the notebooks in batches.

python -m mmlib.batch --run mosi --dataset mosi      every notebook once, into papermill_runs/mosi
python -m mmlib.batch GRID                           every point of a grid
python -m mmlib.batch collect RUN                    all scores of a run as one table
python -m mmlib.batch compare A B                    which scores of two runs differ, and why
python -m mmlib.batch verify RUN                     execute some points again and compare numbers
"""

import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from textwrap import fill

from pandas import DataFrame
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from yaml import YAMLError

from mmlib import files
from mmlib.batch import engine, execute, grid, options, verify
from mmlib.batch.execute import Job, Outcome, up_to_date
from mmlib.batch.options import ASK, JOBS, MEMORY
from mmlib.batch.pairs import advice
from mmlib.batch.parameters import Point, is_tagged, plan, read_parameters
from mmlib.batch.progress import Progress, duration, labels
from mmlib.data.readers.documents import parse
from mmlib.figures.labels import of_row, source
from mmlib.files import refuse_unknown, write_whole
from mmlib.scores import results, runs

SHOWN = 24  # lines of a printed table
COLUMNS, INDENT = 100, 4 * " "
MOST = 63  # the exit code counts at most this many failures


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the number of failures (at most 63), 64 on error, 130 if stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        given = options.of(arguments, {n: f.__doc__ or __doc__ for n, f in COMMANDS.items()})
        return COMMANDS[given.command](given, console)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return os.EX_USAGE
    except KeyboardInterrupt:
        rest = "; a grid's command, or --resume, finishes the rest"
        print(f"stopped{rest * (arguments[:1] != ['verify'])}", file=sys.stderr)
        return 130


# The notebooks, or a grid of them


def execute_batch(given: Namespace, console: Console) -> int:
    run = given.run or (grid.find(given.grid).stem if given.grid else "default")
    folder = results.folder(run)
    points = _of_grid(run, given) if given.grid else _of_notebooks(run, given)
    for line, _ in map(advice, sorted({point.notebook for point in points})):
        console.print(line, end="\n" * bool(line))
    jobs = [execute.job(point, folder, own=bool(given.grid)) for point in points]
    keep = given.resume or (bool(given.grid) and not given.fresh)
    todo = [job for job in jobs if not (keep and up_to_date(job) and not _is_last(job))]
    if given.dry_run:
        return _preview(jobs, todo, given, console)
    if not given.grid:  # a point of a grid replaces nothing
        _tell_replaced(todo, run, console)
    batch = execute.new_batch(given.line, resume=keep, timeout=given.timeout)
    with engine.only_driver(folder):
        newest = runs.manifests(run) if given.grid else {}
        for job in jobs if given.grid else ():
            if job not in todo and job.done not in newest:
                execute.renew(job)
        outcomes = _run(todo, batch, given, console)
    failed = _tell(outcomes, len(jobs) - len(todo), run, console)
    if given.grid:
        console.print(f"The table: {options.PROGRAM} collect {run}")
    else:
        _tell_scores(outcomes, run, console)
    return min(failed, MOST)


def _run(jobs: Sequence[Job], batch: execute.Batch, given: Namespace, console: Console):
    """The outcomes of all jobs; long ones begin first, and those that read results run last."""
    if not jobs:
        return []
    jobs = sorted(jobs, key=lambda job: not is_tagged(job.point.notebook, "long"))
    waves = [job for job in jobs if not _is_last(job)], [job for job in jobs if _is_last(job)]
    workers = _workers(len(jobs), given)
    where = given.scheduler, workers, given.memory, jobs[0].folder, given.host
    with (
        engine.connect(*where) as client,
        Progress(jobs, len(client.nthreads()) or workers, console) as progress,
    ):
        how = {"retries": given.retry, "tell": progress.tell}
        outcomes = engine.run(waves[0], batch, client, **how)
        return outcomes + engine.run(waves[1], replace(batch, resume=False), client, **how)


def _is_last(job: Job) -> bool:
    return is_tagged(job.point.notebook, "reads-results")


def _workers(points: int, given: Namespace) -> int:
    """The number of points that run at the same time, as far as this process knows."""
    if given.workers or given.scheduler == "slurm":
        return max(1, min(points, given.workers or JOBS))
    return engine.how_many(points, given.memory)


def _of_notebooks(run: str, given: Namespace) -> list[Point]:
    parameters = read_parameters(given.params) if given.params else {}
    return plan(run, given.dataset, parameters, given.only)


def _of_grid(run: str, given: Namespace) -> list[Point]:
    """The points that pass --filter; ValueError for none, or for too many without --yes."""
    file = grid.read(grid.find(given.grid))
    wanted = [*map(_filter, given.filter)]
    known = {"notebook", *(name for names in file.notebooks.values() for name in names)}
    refuse_unknown("parameter", dict(wanted), sorted(known), where="--filter")
    counts = {path.stem: file.count() / len(file.notebooks) for path in file.notebooks}
    if file.count() <= ASK or wanted or given.yes:
        points = [point for point in file.points(run) if _is_wanted(point, wanted)]
        counts = Counter(point.notebook.stem for point in points)
    if sum(counts.values()) > ASK and not given.yes:
        raise ValueError(f"{_price(counts, given)}: give --yes to start them, or use --filter")
    if not points:
        raise ValueError(f"{file.path}: no point is left; look at exclude and --filter")
    return points


def _filter(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    reason = "no ="
    try:
        if equals:
            return name, parse(value)[1]
    except (ValueError, YAMLError) as error:
        reason = getattr(error, "problem", None) or files.reason_of(error)
    raise ValueError(f"--filter {text}: write KEY=VALUE ({reason})")


def _is_wanted(point: Point, wanted: list[tuple[str, object]]) -> bool:
    values = {**point.parameters, "notebook": point.notebook.stem}
    return all((n, values.get(n, NotImplemented)) in wanted for n, _ in wanted)


def _price(points: Mapping[str, float], given: Namespace) -> str:
    """Estimated duration of so many points of each notebook: stem -> number.

    A point costs its notebook's median so far; without one, that of all these notebooks, or 60 s.
    """
    records = [runs.manifest(path.parent) for path in files.RUNS.glob("*/*/manifest.json")]
    done: dict[str, list[float]] = {stem: [] for stem in points}
    for record in records:
        if record.get("state") == "done" and record.get("notebook") in done and "seconds" in record:
            done[record["notebook"]].append(record["seconds"])
    usual = median([seconds for some in done.values() for seconds in some] or [60.0])
    cost = sum(n * median(done[stem] or [usual]) for stem, n in points.items())
    workers = _workers(count := round(sum(points.values())), given)
    return f"{count} points, about {duration(cost / workers)} on {workers} workers"


def _preview(jobs: Sequence[Job], todo: Sequence[Job], given: Namespace, console: Console) -> int:
    """Print the points, which of them will run, and SLURM's script; returns 0."""
    records = runs.manifests(jobs[0].folder.name).values()
    earlier = [(record["notebook"], record["parameters"]) for record in records]
    shown = Table("point", "state", "folder", box=SIMPLE)
    for job, label in islice(zip(jobs, labels(jobs), strict=True), SHOWN):
        is_stale = (job.point.notebook.stem, dict(job.point.parameters)) in earlier
        state = "stale, to run" if is_stale and not up_to_date(job) else "to run"
        shown.add_row(label, state if job in todo else "up to date", job.name)
    console.print(shown)
    price = _price(Counter(job.point.notebook.stem for job in todo), given)
    console.print(price.replace(" points", f" of {len(jobs)} points to run", 1))
    if given.scheduler == "slurm":
        with engine.slurm(0, given.memory, given.host) as cluster:
            print(cluster.job_script())
    return 0


def execute_again(given: Namespace, console: Console) -> int:
    """Execute some points of a run again; returns the number of metrics that differ."""
    chosen = verify.choose(given.run, given.points, given.seed)
    here = Namespace(workers=given.workers, scheduler=None, memory=MEMORY, host=None, retry=0)
    with verify.scratch() as folder:
        jobs = [verify.again(given.run, record, Path(folder)) for record in chosen.values()]
        outcomes = _run(jobs, execute.new_batch(given.line, resume=False), here, console)
        table = verify.verdicts(given.run, chosen, jobs, outcomes)
    _print_frame(table, console)
    return min(int((table["verdict"] == "differs").sum()), MOST)


# Printing results


def _tell_replaced(todo: Sequence[Job], run: str, console: Console) -> None:
    """Name the rows in git that this batch will replace, and what brings them back."""
    folder = results.folder(run)
    known = set(runs.read(folder / "provenance.json", {}))
    names = sorted(known & {job.point.notebook.stem for job in todo})
    if names and _in_git(folder):
        paths = [path for path in (folder, files.FIGURES / run) if _in_git(path)]
        shown = " ".join(str(path.relative_to(files.ROOT)) for path in paths)
        console.print(
            f"papermill_runs/{run} is in git: its results of {', '.join(names)} will be replaced; "
            f"`git checkout {shown}` brings them back",
            soft_wrap=True,
        )


def _in_git(path: Path) -> bool:
    asked = ["git", "-C", str(files.ROOT), "ls-files", str(path)]
    return bool(shutil.which("git")) and bool(subprocess.run(asked, capture_output=True).stdout)


def _tell(outcomes: Sequence[Outcome], kept: int, run: str, console: Console) -> int:
    """Print failures with their folders, and how many points ended how; returns the failures."""
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        console.print(f"failed: {outcome.job.name}: {outcome.error}", soft_wrap=True)
        console.print(f"  {outcome.folder.relative_to(files.ROOT)}", soft_wrap=True)
    done = len(outcomes) - len(failed)
    console.print(f"{run}: {done} done, {kept} were up to date, {len(failed)} failed")
    return len(failed)


def _tell_scores(outcomes: Sequence[Outcome], run: str, console: Console) -> None:
    """Print the best score of each executed notebook, a line each, and the paths of the results."""
    rows = results.load(run) if run in results.runs() else DataFrame(columns=results.ROW)
    executed = rows["notebook"].isin({o.job.name for o in outcomes if not o.error})
    errors = rows[executed & (rows["metric"] == "mae") & (rows["split"] == "test")]
    learned = errors[~errors["model"].isin(["constant", "oracle"])]
    for (notebook, dataset), group in learned.groupby(["notebook", "dataset"]):
        best = group.loc[group["mean"].idxmin()]
        at = (errors["notebook"] == notebook) & (errors["dataset"] == dataset)
        usual = errors[at & (errors["model"] == "constant")]["mean"]
        console.print(
            f"{notebook}, {source(dataset)}: lowest MAE {best['mean']:.3f} [{best['ci_low']:.3f}, "
            f"{best['ci_high']:.3f}], {of_row(best['model'], best['variant'])}"
            + "".join(f"; constant {value:.3f}" for value in usual[:1]),
            soft_wrap=True,
        )
    console.print("Where to look next:")
    folders = [outcome.folder for outcome in outcomes if not outcome.error]
    names = sorted(path.stem for folder in folders for path in folder.glob("*.ipynb"))
    if names:
        folder = results.folder(run).relative_to(files.ROOT)
        console.print(f"  {folder}/NAME/NAME.ipynb, where NAME is one of", soft_wrap=True)
        indent = {"initial_indent": INDENT, "subsequent_indent": INDENT}
        console.print(fill(" ".join(names), COLUMNS, **indent))
    for path in (files.FIGURES / run, results.folder(run) / "metrics.json"):
        if path.exists():
            console.print(f"  {path.relative_to(files.ROOT)}", soft_wrap=True)


def _print_frame(frame: DataFrame, console: Console) -> None:
    shown = Table(*map(str, frame.columns), box=SIMPLE, padding=(0, 1, 0, 0))
    for line in frame.head(SHOWN).itertuples(index=False):
        shown.add_row(*(f"{x:.4g}" if isinstance(x, float) else str(x) for x in line))
    console.print(shown)
    if len(frame) > SHOWN:
        console.print(f"and {len(frame) - SHOWN} more lines")


def print_table(given: Namespace, console: Console) -> int:
    """Write all rows of a run as CSV and print the test scores of a few metrics."""
    table = runs.collect(given.run)
    out = given.out or results.folder(given.run) / "table.csv"
    write_whole(out, table.to_csv(index=False))
    _print_frame(runs.scores(table).drop(columns="notebook"), console)
    console.print(f"{len(table)} rows in {out}", soft_wrap=True)
    return 0


def print_comparison(given: Namespace, console: Console) -> int:
    """Print how two runs differ: scores, then code, versions and data."""
    table = runs.compare_runs(given.a, given.b)
    for verdict, count in table["verdict"].value_counts().items():
        console.print(f"{count:6} rows: {verdict}")
    shown = table[table["verdict"].isin(("differs", "one seed"))]
    if len(shown):
        columns = ["dataset", "model", "variant", "metric", *table.columns[len(results.PLACE) :]]
        _print_frame(shown[[c for c in columns if c in shown and shown[c].notna().any()]], console)
    origin = runs.differences(given.a, given.b)
    same = "the same code, versions and data", "different code, versions or data:"
    console.print(f"Made by {same[len(origin) > 0]}")
    if len(origin):
        _print_frame(origin, console)
    return 0


COMMANDS = {
    "batch": execute_batch,
    "collect": print_table,
    "compare": print_comparison,
    "verify": execute_again,
}

if __name__ == "__main__":
    sys.exit(main())
