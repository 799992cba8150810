"""Execute the notebooks with other parameters: `python -m mmlib.runs --dataset mosi --run mosi`."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mmlib import paths, results
from mmlib.runs.execute import Outcome, check_kernel, execute
from mmlib.runs.plan import plan, read_parameters

SHOWN = 24  # lines of the printed results table


def report(outcomes: list[Outcome], run: str, console: Console) -> None:
    """Print scores, the time and data set of each notebook, and where to look next."""
    notebooks = Table("notebook", "data", "seconds", "state", box=SIMPLE)
    for outcome in outcomes:
        state = outcome.error or "done"
        name, seconds = outcome.point.notebook.stem, f"{outcome.seconds:.0f}"
        notebooks.add_row(name, outcome.point.dataset or "-", seconds, state)
    executed = {outcome.point.notebook.stem for outcome in outcomes}
    if run in results.runs():
        rows = results.load(run)
        _print_scores(rows[rows["notebook"].isin(executed)], run, console)
    console.print(notebooks)
    console.print("Where to look next:")
    for path in (*(o.output for o in outcomes[-1:]), results.folder(run), paths.FIGURES):
        if path.exists():
            console.print(f"  {path.relative_to(paths.ROOT)}", soft_wrap=True)


def _print_scores(rows, run: str, console: Console) -> None:
    scores = results.table(rows).reset_index().drop(columns="notebook").drop_duplicates()
    if scores.empty:
        return
    table = Table(*scores.columns, box=SIMPLE, padding=(0, 1, 0, 0))
    for line in scores.head(SHOWN).itertuples(index=False):
        table.add_row(*line)
    console.print(f"Test scores of {run}: mean over seeds [95 % interval over videos and seeds]")
    console.print(table)
    if len(scores) > SHOWN:
        console.print(f"and {len(scores) - SHOWN} more lines in metrics.json")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns how many notebooks failed, 64 if nothing was started."""
    parser = argparse.ArgumentParser(prog="python -m mmlib.runs", description=__doc__)
    parser.add_argument("--run", default="default", help="folder below papermill_runs")
    parser.add_argument("--dataset", help="data set for the notebooks that can take it")
    parser.add_argument("--params", type=Path, help="YAML file of parameters")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="e.g. 02_daf 08")
    options = parser.parse_args(arguments)
    console = Console(markup=False, width=None if sys.stdout.isatty() else 120)
    try:
        given = read_parameters(options.params) if options.params else {}
        results.folder(options.run)
        points = plan(options.run, options.dataset, given, options.only)
        check_kernel()
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return os.EX_USAGE
    os.environ["MMLIB_COMMAND"] = shlex.join(
        ["python", "-m", "mmlib.runs", *(arguments or sys.argv[1:])]
    )
    outcomes = []
    for point in points:
        with console.status(f"{point.notebook.stem} ({point.dataset or 'no data set'})"):
            outcomes.append(execute(point, options.run))
        print(f"{point.notebook.stem}: {outcomes[-1].error or 'done'}", flush=True)
    report(outcomes, options.run, console)
    return sum(bool(outcome.error) for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
