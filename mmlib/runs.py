"""Execute the notebooks with other parameters: `python -m mmlib.runs --dataset mosi --run mosi`.

A notebook declares its parameters in the cell tagged so; all are checked against that before
anything starts. A notebook whose `dataset` parameter lists the named data set follows it
(`dataset: str = "synthetic"  # synthetic | mosi`), the others keep their own. A parameter file is
YAML: names at the top go to every notebook that has them, names below `02_daf:` to that one.
"""

import argparse
import ast
import os
import re
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import papermill
import yaml
from jupyter_client.kernelspec import KernelSpecManager
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mmlib import results
from mmlib.paths import FIGURES, NOTEBOOKS, ROOT

TYPES = {"str": str, "int": int, "float": (float, int), "bool": bool, "list": list, "dict": dict}
SHOWN = 24  # lines of the printed results table


@dataclass(frozen=True)
class Point:
    """One notebook and the parameters it will be executed with."""

    notebook: Path
    parameters: Mapping[str, object]
    dataset: str  # what it will use, "" if it takes no data set


@dataclass(frozen=True)
class Outcome:
    """How the execution of one notebook ended."""

    point: Point
    output: Path
    seconds: float
    error: str  # one line, "" if all went well


# What is to be run


def declared(notebook: Path) -> dict[str, dict]:
    """Parameters of a notebook as papermill sees them: name, type, default, help."""
    return papermill.inspect_notebook(notebook)


def plan(run: str, dataset: str | None, given: Mapping, only: list[str]) -> list[Point]:
    """The notebooks in reading order with checked parameters, or a ValueError in one line."""
    every = {path: declared(path) for path in select([])}
    known = {path: every[path] for path in select(only)}
    stems = {path.stem for path in every}
    shared = {name: value for name, value in given.items() if name not in stems}
    _refuse_unknown(shared, {name for names in every.values() for name in names}, "any notebook")
    dataset = dataset or shared.pop("dataset", None)
    listed = sorted({c for names in known.values() if "dataset" in names for c in choices(names)})
    if dataset and dataset not in listed:
        raise ValueError(f"no notebook takes data set {dataset!r}; they take {', '.join(listed)}")
    return [_point(path, known[path], run, dataset, shared, given) for path in known]


def select(only: list[str]) -> list[Path]:
    """The notebooks whose names begin with one of `only` (all if it is empty), in reading order."""
    notebooks = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    for name in only or [""]:
        if not any(path.stem.startswith(name) for path in notebooks):
            there = ", ".join(path.stem for path in notebooks) or "none"
            raise ValueError(f"no notebook {name!r} in {NOTEBOOKS}; there are {there}")
    return [path for path in notebooks if path.stem.startswith(tuple(only or [""]))]


def choices(parameters: Mapping[str, dict]) -> list[str]:
    """Data sets a notebook can take: `# synthetic | mosi: which corpus` lists two."""
    listed = re.match(r"[\w\s|-]*", parameters["dataset"]["help"])[0]
    return [name.strip() for name in listed.split("|")]


def _point(notebook: Path, parameters, run, dataset, shared, given) -> Point:
    own = given.get(notebook.stem) or {}
    _refuse_unknown(own, parameters, notebook.stem)
    values = {name: value for name, value in {**shared, **own}.items() if name in parameters}
    if "run" in parameters:
        values["run"] = run
    if "dataset" not in parameters:
        return Point(notebook, _checked(notebook.stem, parameters, values), "")
    if dataset in choices(parameters):
        values["dataset"] = dataset
    used = values.get("dataset", ast.literal_eval(parameters["dataset"]["default"]))
    if used not in choices(parameters):
        raise ValueError(f"{notebook.stem}: dataset {used!r} is none of {choices(parameters)}")
    return Point(notebook, _checked(notebook.stem, parameters, values), used)


def _refuse_unknown(names, known, where: str) -> None:
    for name in names:
        if name not in known:
            there = ", ".join(sorted(known))
            raise ValueError(f"{where}: unknown parameter {name!r}; there are {there}")


def _checked(where: str, parameters: Mapping[str, dict], values: dict) -> dict:
    """Types are those of the annotation, else of the default; a whole number is a float too."""
    for name, value in values.items():
        kind = parameters[name]["inferred_type_name"].split("[")[0]
        if kind not in TYPES:
            kind = type(ast.literal_eval(parameters[name]["default"])).__name__
        if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
            hint = " (YAML reads 1e-3 as text: write 0.001)" if isinstance(value, str) else ""
            raise ValueError(f"{where}: {name} takes {kind}, not {value!r}{hint}")
    return values


def read_parameters(path: Path) -> dict:
    """A parameter file; ValueError in one line if it is missing or no mapping."""
    try:
        given = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{path}: a parameter file holds `name: value` lines")
    return given


# Running it


def execute(point: Point, run: str) -> Outcome:
    """Execute one notebook into the run's folder; its file appears there when it is whole."""
    into = results.folder(run)
    into.mkdir(parents=True, exist_ok=True)
    stem, began, error = point.notebook.stem, time.monotonic(), ""
    part, done, failed = (into / f"{n}.ipynb" for n in (f".{stem}.part", stem, f"{stem}.failed"))
    failed.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            str(point.notebook),
            str(part),
            dict(point.parameters),
            kernel_name="python3",
            cwd=str(ROOT),
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],  # ipykernel warns of its own TCP sockets
        )
    except Exception as problem:  # whatever stops one notebook, the others are still run
        error = _one_line(problem)
    if part.exists():
        os.replace(part, failed if error else done)
    return Outcome(point, failed if error else done, time.monotonic() - began, error)


def _one_line(problem: Exception) -> str:
    name = getattr(problem, "ename", type(problem).__name__)
    return f"{name}: {getattr(problem, 'evalue', str(problem))}".split("\n")[0]


def check_kernel() -> None:
    """RuntimeError if the kernel `python3` would be another Python than this one."""
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    python = KernelSpecManager().get_kernel_spec("python3").argv[0]
    if Path(python).is_absolute() and not Path(python).samefile(sys.executable):
        raise RuntimeError(
            f"the kernel python3 is {python}, not {sys.executable}: "
            "run `python -m ipykernel install --sys-prefix` in this environment"
        )


# Telling what came out


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
    for path in (*(o.output for o in outcomes[-1:]), results.folder(run), FIGURES):
        if path.exists():
            console.print(f"  {path.relative_to(ROOT)}", soft_wrap=True)


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
