"""Progress of a batch: a live table in a terminal, otherwise a line for each finished point."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import chain
from math import inf
from statistics import median

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mmlib.batch.execute import Job, Outcome
from mmlib.scores.metrics import METRICS
from mmlib.scores.results import REFERENCE
from mmlib.scores.runs import manifest, rows_of

SHOWN = 20  # lines of the live table


class Progress:
    """Shows the state of each point, the time left, and the best score so far."""

    def __init__(self, jobs: Sequence[Job], workers: int, console: Console) -> None:
        self.jobs, self.workers, self.console = jobs, workers, console
        self.labels = {job.name: text for job, text in zip(jobs, labels(jobs), strict=True)}
        self.outcomes: list[Outcome] = []
        self.best = inf, ""
        self.metric = ""  # the metric that is compared
        self.is_live = console.is_terminal
        live = Live(get_renderable=self.table, console=console, refresh_per_second=1)
        self.live = live if self.is_live else nullcontext()

    def __enter__(self) -> "Progress":
        self.live.__enter__()
        return self

    def __exit__(self, *ended) -> None:
        self.live.__exit__(*ended)

    def tell(self, outcome: Outcome) -> None:
        """Record the outcome of a point."""
        self.outcomes.append(outcome)
        if not outcome.error:
            self._compare(outcome.job)
        if not self.is_live:
            at = time.strftime("%H:%M:%S")
            state = outcome.error or f"{outcome.state}, {outcome.seconds:.0f} s"
            line = f"{at} {self.labels[outcome.job.name]}: {state}; {self.summary()}"
            self.console.print(line, soft_wrap=True)

    def summary(self) -> str:
        """`12 of 24, 1 failed; about 3 min left; best mae 0.83: daf mosi`."""
        failed = sum(bool(outcome.error) for outcome in self.outcomes)
        parts = [f"{len(self.outcomes)} of {len(self.jobs)}{f', {failed} failed' * bool(failed)}"]
        took = [outcome.seconds for outcome in self.outcomes if outcome.seconds]
        left = len(self.jobs) - len(self.outcomes)
        if took and left:
            parts.append(f"about {duration(median(took) * left / self.workers)} left")
        return "; ".join(filter(None, [*parts, self.best[1]]))

    def table(self) -> Group:
        """Running points, then failed ones, then the most recently finished."""
        table = Table("point", "state", "seconds", box=SIMPLE)
        ended = sorted(self.outcomes[::-1], key=lambda outcome: not outcome.error)
        lines = [(name, "running", seconds) for name, seconds in self.running()]
        lines += [(o.job.name, o.error or o.state, o.seconds) for o in ended]
        for name, state, seconds in lines[:SHOWN]:
            table.add_row(self.labels[name], Text(state), f"{seconds:.0f}")
        return Group(table, Text(self.summary()))

    def running(self) -> list[tuple[str, float]]:
        """Points that are running on any worker, and for how many seconds."""
        points, now = [], datetime.now(UTC)
        folders = {job.folder for job in self.jobs}
        for part in (part for folder in folders for part in folder.glob(".*.part")):
            name, record = part.name[1:].rsplit(".", 2)[0], manifest(part)
            if name in self.labels and "started" in record:
                began = datetime.fromisoformat(record["started"])
                points.append((name, (now - began).total_seconds()))
        return sorted(points)

    def _compare(self, job: Job) -> None:
        """Update the best test score: mean absolute error, else the first metric stored."""
        stored = rows_of(job.done if job.own else job.folder, job.point.notebook.stem)
        ours = [r for r in stored if r["split"] == "test" and r["model"] not in REFERENCE]
        names = [row["metric"] for row in ours if row["metric"] in METRICS]  # one may add others
        self.metric = self.metric or ("mae" if "mae" in names else next(iter(names), ""))
        for row in (row for row in ours if row["metric"] == self.metric):
            value = row["mean"] if METRICS[self.metric].better == "low" else -row["mean"]
            place = " ".join((row["model"], row["variant"], row["dataset"]))
            text = f"best {self.metric} {row['mean']:.3f}: {place}"
            self.best = min(self.best, (value, text))


def labels(jobs: Sequence[Job]) -> list[str]:
    """For each point its notebook and those parameters that differ between points, as text."""
    given = [{n: v for n, v in job.point.parameters.items() if n != "run"} for job in jobs]
    seen = {name: {str(values.get(name)) for values in given} for name in sorted({*chain(*given)})}
    varied = [name for name in seen if len(seen[name]) > 1]
    return [
        " ".join([job.point.notebook.stem, *(f"{n}={values[n]}" for n in varied if n in values)])
        for job, values in zip(jobs, given, strict=True)
    ]


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`, `12 days`."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{seconds / size:.{int(unit == 'h')}f} {unit}"
    return f"{seconds / 86400:.0f} days"
