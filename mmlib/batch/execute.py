"""Execution of one point, in a folder of its own that appears only when complete.

For each point, a run's folder holds `<name>/` if it is done or `<name>.failed/` if it failed, with
the executed notebook and `manifest.json`; for a grid point also its rows and figures. While a point
runs, its files are in `.<name>.<token>.part/`. One lock per point ensures that two processes never
run the same point.
"""

import json
import os
import platform
import secrets
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from filelock import Timeout

from mmlib import files
from mmlib.batch import closure, kernel, sources
from mmlib.batch.parameters import Point
from mmlib.files import write_whole
from mmlib.scores import provenance
from mmlib.scores.runs import manifest, stored
from mmlib.scores.store import ORIGINS_FILE, read


@dataclass(frozen=True)
class Job:
    """A point and its folder: everything that a worker on another host needs."""

    point: Point
    name: str
    folder: Path  # of the run
    inputs: sources.Inputs  # checksums and versions of what determines its numbers
    key: str
    own: bool  # its rows and figures go into its own folder, not into the run's

    @property
    def done(self) -> Path:
        return self.folder / self.name

    @property
    def failed(self) -> Path:
        return self.folder / f"{self.name}.failed"


@dataclass(frozen=True)
class Batch:
    """What all points of one invocation share."""

    session: str
    resume: bool  # whether an up-to-date point of an earlier session is kept
    command: str
    diff: str
    code: str  # of the driver: its `code_here`
    timeout: float | None = None  # seconds for one point


@dataclass(frozen=True)
class Outcome:
    """How a point ended."""

    job: Job
    state: str  # done, up to date, failed
    error: str = ""  # one line
    seconds: float = 0.0

    @property
    def folder(self) -> Path:
        return self.job.failed if self.error else self.job.done


@lru_cache
def code_here() -> str:
    """Versions of Python, mmlib and libraries in this process, at the first call."""
    # called once a worker has loaded mmlib: later changes of files must not count as the worker's
    code = sorted(closure.PACKAGE.rglob("*.py"))
    digest = sha256(b"".join(path.read_bytes() for path in code)).hexdigest()
    libraries = [f"{name} {version}" for name, version in sources.versions().items()]
    return ", ".join([f"Python {platform.python_version()}", f"mmlib {digest[:12]}", *libraries])


def job(point: Point, folder: Path, own: bool) -> Job:
    """The job of a point; with its own folder, the name contains its key."""
    inputs = sources.inputs(point.notebook, point.parameters)
    key = sources.key(point.parameters, inputs)
    name = f"{point.notebook.stem}-{key[:12]}" if own else point.notebook.stem
    return Job(point, name, folder, inputs, key, own)


def new_batch(command: str, *, resume: bool, timeout: float | None = None) -> Batch:
    """The batch of this process' command."""
    return Batch(secrets.token_hex(8), resume, command, provenance.diff(), code_here(), timeout)


def up_to_date(job: Job) -> bool:
    """Whether the point was done with these inputs and its stored results still exist."""
    record = manifest(job.done)
    there = stored(job.done if job.own else job.folder, job.point.notebook.stem)
    made = {} if job.own else read(job.folder / ORIGINS_FILE, {}).get(job.point.notebook.stem, {})
    if made.get("finished", "") > record.get("finished", ""):  # by hand, or by one that failed
        return False
    return record.get("key") == job.key and record.get("stored", there) == there


def attempt(job: Job, batch: Batch, number: int) -> Outcome:
    """Execute a point in its own kernel, unless another process has done so in the meantime.

    Runs on a worker. RuntimeError if the worker has another Python or mmlib than the driver.
    """
    if batch.code != code_here():
        raise RuntimeError(f"worker on {socket.gethostname()} has {code_here()}")
    with files.locked(job.folder / f".{job.name}.lock"):
        session = manifest(job.done).get("session")
        if up_to_date(job) and (batch.resume or session == batch.session):
            return Outcome(job, "up to date")
        return _run(job, batch, number)


def _run(job: Job, batch: Batch, number: int) -> Outcome:
    scratch = _scratch(job.folder, job.name)
    record = {**begun(job, batch, number), "state": "running"}
    into = str(scratch) if job.own else ""
    try:
        scratch.mkdir()
        _write(scratch, record)
        record |= kernel.execute(
            job.point.notebook,
            scratch / job.point.notebook.name,
            job.point.parameters,
            folder=files.ROOT,
            environment={"MMLIB_COMMAND": batch.command, "MMLIB_POINT": into},
            limit=batch.timeout,
        )
        now = sources.inputs(job.point.notebook, job.point.parameters)
        if now["code"] != job.inputs["code"]:
            record["error"] = record["error"] or "its code changed meanwhile: run it again"
        record["stored"] = stored(scratch if job.own else job.folder, job.point.notebook.stem)
        return _publish(scratch, job, record)
    except OSError as error:  # of the disk: errors of the notebook are in the record
        shutil.rmtree(scratch, ignore_errors=True)
        return give_up(job, batch, number, kernel.described(error, job.folder))


def begun(job: Job, batch: Batch, number: int) -> dict:
    """The part of a manifest that is written before its point runs."""
    here = provenance.here(job.point.parameters, job.inputs["data"])
    return {
        "notebook": job.point.notebook.stem, "parameters": here["parameters"], "key": job.key,
        "session": batch.session, "attempt": number, "host": socket.gethostname(),
        "pid": os.getpid(), "threads": files.environment("OMP_NUM_THREADS"),
        "gpu": files.environment("CUDA_VISIBLE_DEVICES"), "device": here["device"],
        "commit": here["commit"], "diff": batch.diff, "command": batch.command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"), **job.inputs,
        "versions": {**here["versions"], **job.inputs["versions"]},
    }  # fmt: skip


def renew(job: Job) -> None:
    """Note that a finished point is the current one of its parameters (`scores.runs.manifests`)."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    _write(job.done, manifest(job.done) | {"current": now})


def give_up(job: Job, batch: Batch, number: int, error: str) -> Outcome:
    """Record a failure without a notebook, e.g. a full disk or a worker that died repeatedly."""
    record = {**begun(job, batch, number), "error": error, "traceback": "", "seconds": 0.0}
    scratch = _scratch(job.folder, job.name)
    try:
        scratch.mkdir()
        return _publish(scratch, job, record)
    except OSError:  # no room for the record either; the driver still prints the error
        shutil.rmtree(scratch, ignore_errors=True)
        return Outcome(job, "failed", error)


def sweep(folder: Path) -> None:
    """End and remove what killed workers left behind; points that still run are not touched."""
    for path in folder.glob(".*.part/"):
        lock = folder / f"{path.name.rsplit('.', 2)[0]}.lock"
        with suppress(Timeout), files.locked(lock, timeout=0):
            files.kill_processes(kernel.MARK, str(path))
            shutil.rmtree(path, ignore_errors=True)
    begun = [*folder.glob(".*.json.*.part"), *(files.FIGURES / folder.name).glob(".*.part")]
    with suppress(Timeout), files.locked(folder / ".lock", timeout=0):  # nobody stores results now
        for path in begun:
            path.unlink(missing_ok=True)


def _scratch(folder: Path, name: str) -> Path:
    return folder / f".{name}.{secrets.token_hex(4)}.part"


def _write(folder: Path, record: dict) -> None:
    write_whole(folder / "manifest.json", json.dumps(record, indent=1) + "\n")


def _publish(scratch: Path, job: Job, record: dict) -> Outcome:
    """Rename a finished folder; a failure never replaces a result."""
    (scratch / ".lock").unlink(missing_ok=True)  # of a kernel that was killed
    state, target = ("failed", job.failed) if record["error"] else ("done", job.done)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    _write(scratch, {**record, "state": state, "finished": finished})
    old = _scratch(job.folder, target.name)
    if target.exists():
        os.rename(target, old)
    os.rename(scratch, target)
    shutil.rmtree(old, ignore_errors=True)
    if state == "done":
        shutil.rmtree(job.failed, ignore_errors=True)
    return Outcome(job, state, record["error"], record["seconds"])
