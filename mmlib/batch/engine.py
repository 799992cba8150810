"""Points on many workers: Dask distributed, here, at a scheduler's address, or through SLURM.

A worker runs one point at a time, in a kernel that dies with it. Dask gives the point of a dead
worker to another one; what is written stays the same, since a point appears only when it is whole.
"""

import asyncio
import fcntl
import logging
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import dask
from dask.system import CPU_COUNT
from distributed import Client, Nanny, Scheduler, Security, SpecCluster, as_completed
from distributed.comm import connect as call
from distributed.system import MEMORY_LIMIT

from mmlib import files
from mmlib.batch import execute
from mmlib.batch.execute import Batch, Job, Outcome

PATIENCE = 5  # seconds for a scheduler to answer
SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,  # a worker holds no point but the one it runs
    "distributed.comm.timeouts.connect": "120s",  # a crowded machine is slow, not gone
    "distributed.comm.timeouts.tcp": "120s",
}


@contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Hold a run's folder, swept before and after; RuntimeError that names who does already."""
    with _opened(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise RuntimeError(
                f"{folder.name} is being written by {file.read() or 'another process'}: "
                "wait for it, or choose another --run"
            ) from error
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}")
        file.flush()
        execute.sweep(folder)
        try:
            yield
        finally:
            execute.sweep(folder)
            file.truncate(0)


def _opened(folder: Path) -> TextIO:
    """The lock's file; RuntimeError if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / ".driver.lock", "a+")
    except OSError as error:
        raise RuntimeError(
            f"cannot write to {folder} ({error.strerror}): make room there or choose another --run"
        ) from error


# Where the workers come from


def gpus() -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name.strip() not in ("", "-1")]
    with suppress(OSError):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
        return [str(i) for i in range(listed.count("\nGPU ") + listed.startswith("GPU "))]
    return []


def how_many(points: int, memory: float) -> int:
    """Workers for this machine: one a GPU, else one a core, as far as memory (GB each) goes."""
    fit = int(MEMORY_LIMIT / 1e9 // memory)
    return max(1, min(points, len(gpus()) or CPU_COUNT, fit))


def threads(workers: int) -> int:
    """Threads a worker: OMP_NUM_THREADS if it is set, else its share of the cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, CPU_COUNT // workers))


def local(workers: int) -> SpecCluster:
    """Workers on this machine, each with its share of the threads and one GPU."""
    cards, count = gpus(), str(threads(workers))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    share = dict.fromkeys(names, count)
    here = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": ":0"}
    quiet = {"silence_logs": logging.CRITICAL}
    specs = {}
    for i in range(workers):
        card = {"CUDA_VISIBLE_DEVICES": cards[i % len(cards)]} if cards else {}
        options = {**here, **quiet, "nthreads": 1, "memory_limit": 0, "env": {**share, **card}}
        specs[i] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {**here, "port": 0}}
    return SpecCluster(workers=specs, scheduler=scheduler, **quiet)


def slurm(workers: int, memory: float) -> SpecCluster:
    """One SLURM job a worker. Queue, walltime, GPUs: Dask's own file, ~/.config/dask/jobqueue.yaml.

    RuntimeError without dask-jobqueue, or if SLURM does not take the job. workers: 0 for a look.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise RuntimeError("SLURM needs dask-jobqueue: pip install -e '.[cluster]'") from error
    names = [name for name in sorted(os.environ) if name.startswith("MMLIB_")]
    exports = [f"export {name}={shlex.quote(os.environ[name])}" for name in names]
    folder = shlex.quote(str(files.ROOT))
    cores = threads(workers)
    cluster = SLURMCluster(
        cores=1,
        processes=1,
        memory=f"{memory:g}GB",
        job_cpu=cores,
        python=sys.executable,
        job_script_prologue=[f"cd {folder}", *exports, f"export OMP_NUM_THREADS={cores}"],
        scheduler_options={"dashboard_address": ":0"},
        silence_logs=logging.CRITICAL,
    )
    if workers:
        _try_job(cluster.job_script())
        cluster.scale(jobs=workers)
    return cluster


def _try_job(script: str) -> None:
    """RuntimeError in one line unless SLURM would take the job: Dask would wait for it for ever."""
    asked = ["sbatch", "--test-only"]
    try:
        told = subprocess.run(asked, input=script, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError("no sbatch here: start this where jobs are given to SLURM") from error
    if told.returncode:
        said = told.stderr.strip().splitlines() or ["no reason given"]
        raise RuntimeError(f"SLURM does not take the job: {said[-1]}")


@contextmanager
def connect(scheduler: str | None, workers: int, memory: float, folder: Path) -> Iterator[Client]:
    """A client of workers that fit this process; RuntimeError in one line if there is none.

    scheduler: None for this machine, `slurm`, or an address, whose workers must see the same files.
    """
    with dask.config.set(SETTINGS):
        if scheduler in (None, "slurm"):
            cluster = slurm(workers, memory) if scheduler else local(workers)
            with cluster, Client(cluster) as client:
                yield client
            return
        with _client(scheduler) as client:
            _check_workers(client, scheduler, folder)
            yield client


def _client(address: str) -> Client:
    """A client of a running scheduler; RuntimeError in one line if none answers there."""

    async def ask() -> None:  # Dask itself would wait for ever where something is silent
        (await call(address, **Security().get_connection_args("client"))).abort()

    try:
        asyncio.run(asyncio.wait_for(ask(), PATIENCE))
        return Client(address, timeout=PATIENCE)
    except Exception as error:  # whatever answers there, or does not
        said = f"{error}".split("\n")[0] or f"no answer within {PATIENCE} s"
        raise RuntimeError(f"no scheduler at {address}: {said}") from error


def facts(folder: Path) -> tuple[str, bool]:
    """What a worker is asked before it gets a point."""
    return execute.PYTHON_AND_MMLIB, folder.is_dir()


def _check_workers(client: Client, scheduler: str, folder: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        start = f"dask worker {scheduler} --nthreads 1"
        raise RuntimeError(f"{scheduler} has no workers: start some by `{start}`") from error
    for address, told in client.run(facts, folder, on_error="return").items():
        if isinstance(told, BaseException):
            raise RuntimeError(f"worker {address}: {told}".split("\n")[0])
        if told[0] != execute.PYTHON_AND_MMLIB:
            raise RuntimeError(f"worker {address} has {told[0]}; here: {execute.PYTHON_AND_MMLIB}")
        if not told[1]:
            raise RuntimeError(f"worker {address} does not see {folder}: it needs the same files")


# What they do


def run(
    jobs: Sequence[Job],
    batch: Batch,
    client: Client,
    *,
    retries: int = 0,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Execute all points, a failed one up to `retries` times more; `tell` hears of each end."""

    def submit(job: Job, number: int):
        name = f"{job.name}-{batch.session}-{number}"
        return client.submit(execute.attempt, job, batch, number, key=name, pure=False)

    waiting = {submit(job, 1): (job, 1) for job in jobs}
    ends, outcomes = as_completed(waiting), []
    for future in ends:
        job, number = waiting.pop(future)
        outcome = _outcome(future, job, batch, number)
        if outcome.error and number <= retries:
            again = submit(job, number + 1)
            waiting[again] = (job, number + 1)
            ends.add(again)
            continue
        outcomes.append(outcome)
        tell(outcome)
    return outcomes


def _outcome(future, job: Job, batch: Batch, number: int) -> Outcome:
    if future.cancelled():
        return Outcome(job, "failed", "the scheduler was lost")
    problem = future.exception()
    if problem is None:
        return future.result()
    line = f"{type(problem).__name__}: {problem}".split("\n")[0]
    return execute.give_up(job, batch, number, line)
