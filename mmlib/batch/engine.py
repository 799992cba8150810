"""Run points on many workers with Dask distributed: here, at a scheduler's address, or by SLURM.

A worker runs one point at a time, in a kernel that ends with the worker. If a worker dies, Dask
gives its point to another one; results are not affected, since a point appears only when complete.
"""

import asyncio
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from pathlib import Path

import dask
from dask.system import CPU_COUNT
from distributed import Client, Nanny, Scheduler, Security, SpecCluster, as_completed
from distributed.comm import connect as call
from distributed.system import MEMORY_LIMIT
from filelock import Timeout

from mmlib import files
from mmlib.batch import execute
from mmlib.batch.execute import Batch, Job, Outcome

LOOPBACK = "127.0.0.1"
PATIENCE = 5  # seconds to wait for a scheduler's answer
SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,  # a worker holds only the point that it runs
    "distributed.comm.timeouts.connect": "120s",  # a busy machine may answer late
    "distributed.comm.timeouts.tcp": "120s",
    "distributed.worker.profile.enabled": False,  # a worker does nothing but wait for its kernel
    "distributed.admin.tick.interval": "1s",
}


@contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Lock a run's folder and sweep it before and after; RuntimeError names who holds the lock."""
    lock = folder / ".driver.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(files.locked(lock, timeout=0))
            lock.write_text(f"pid {os.getpid()} on {socket.gethostname()}")
        except Timeout as error:
            who = lock.read_text() or "another process"
            raise RuntimeError(
                f"{folder.name} is being written by {who}: wait for it, or choose another --run"
            ) from error
        except OSError as error:
            reason = error.strerror or files.reason_of(error)
            raise RuntimeError(
                f"cannot write to {folder} ({reason}): make room there or choose another --run"
            ) from error
        execute.sweep(folder)
        stack.callback(execute.sweep, folder)
        yield


# Where the workers come from


def gpus() -> list[str]:
    """The usable GPUs, with their names in CUDA_VISIBLE_DEVICES."""
    for given in files.variables("CUDA_VISIBLE_DEVICES").values():
        return [name for name in given.split(",") if name.strip() not in ("", "-1")]
    with suppress(OSError):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
        return [str(i) for i in range(listed.count("\nGPU ") + listed.startswith("GPU "))]
    return []


def how_many(points: int, memory: float) -> int:
    """Workers on this machine: one per GPU, else per core, limited by memory (GB per worker)."""
    fit = int(MEMORY_LIMIT / 1e9 // memory)
    return max(1, min(points, len(gpus()) or CPU_COUNT, fit))


def threads(workers: int) -> int:
    """Threads per worker: OMP_NUM_THREADS if set, else the worker's share of the cores.

    If OMP_NUM_THREADS lists a number per nesting level, the first is used. ValueError if invalid.
    """
    given = files.environment("OMP_NUM_THREADS").strip()
    if not given:
        return max(1, CPU_COUNT // workers)
    if not re.fullmatch(r"[1-9]\d*(\s*,\s*[1-9]\d*)*", given):
        raise ValueError(f"OMP_NUM_THREADS={given}: set it to a number from 1 on, or unset it")
    return int(given.partition(",")[0])


def local(workers: int, host: str = LOOPBACK) -> SpecCluster:
    """Workers on this machine, each with its share of the threads and one GPU.

    host: the address at which workers and scheduler listen.
    """
    cards, count = gpus() or [None], str(threads(workers))
    share = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
    here = {"host": host, "dashboard": False, "dashboard_address": f"{host}:0"}
    quiet = {"silence_logs": logging.CRITICAL}
    specs = {}
    for i, card in zip(range(workers), cycle(cards)):
        env = share | ({"CUDA_VISIBLE_DEVICES": card} if card else {})
        options = {**here, **quiet, "nthreads": 1, "memory_limit": 0, "env": env}
        specs[i] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {**here, "port": 0}}
    return SpecCluster(workers=specs, scheduler=scheduler, **quiet)


def slurm(workers: int, memory: float, host: str | None = None) -> SpecCluster:
    """One SLURM job per worker; queue, walltime and GPUs are set in ~/.config/dask/jobqueue.yaml.

    host: this machine's address for the jobs; default: that of `interface` in Dask's file.
    RuntimeError if both are missing, without dask-jobqueue, or if SLURM refuses the job. workers: 0
    to see the script only.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise RuntimeError("SLURM needs dask-jobqueue: pip install -e '.[cluster]'") from error
    if workers and not host and not dask.config.get("jobqueue.slurm.interface", None):
        raise RuntimeError("SLURM's jobs have to reach this process: give its address by --host")
    exports = [f"export {n}={shlex.quote(v)}" for n, v in files.variables("MMLIB_").items()]
    own = dask.config.get("jobqueue.slurm.worker-extra-args", None) or []
    http = f"{LOOPBACK}:0"
    options = {"host": host or LOOPBACK} if host or not workers else {}  # else the interface's
    folder = shlex.quote(str(files.ROOT))
    cores = threads(workers)
    cluster = SLURMCluster(
        cores=1, processes=1, memory=f"{memory:g}GB", job_cpu=cores, python=sys.executable,
        job_script_prologue=[f"cd {folder}", *exports, f"export OMP_NUM_THREADS={cores}"],
        worker_extra_args=[*own, "--dashboard-address", http],
        scheduler_options={"dashboard_address": http, **options}, silence_logs=logging.CRITICAL,
    )  # fmt: skip
    if workers:
        _try_job(cluster.job_script())
        cluster.scale(jobs=workers)
    return cluster


def _try_job(script: str) -> None:
    """RuntimeError in one line if SLURM would refuse the job: Dask would wait for it for ever."""
    asked = ["sbatch", "--test-only"]
    try:
        done = subprocess.run(asked, input=script, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError("no sbatch here: start this where jobs are given to SLURM") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"SLURM does not take the job: {reason}")


@contextmanager
def connect(
    scheduler: str | None, workers: int, memory: float, folder: Path, host: str | None = None
) -> Iterator[Client]:
    """A client with workers that suit this process; RuntimeError in one line if there are none.

    scheduler: None for this machine, `slurm`, or an address, whose workers must see the same files.
    host: see `local` and `slurm`.
    """
    with dask.config.set(SETTINGS):
        if scheduler in (None, "slurm"):
            local_host = host or LOOPBACK
            cluster = slurm(workers, memory, host) if scheduler else local(workers, local_host)
            with cluster, Client(cluster) as client:
                yield client
            return
        with _client(scheduler) as client:
            _check_workers(client, scheduler, folder)
            yield client


def _client(address: str) -> Client:
    """A client of a running scheduler; RuntimeError in one line if it does not answer."""

    async def ask() -> None:  # Dask would wait for ever for a silent address
        (await call(address, **Security().get_connection_args("client"))).abort()

    try:
        asyncio.run(asyncio.wait_for(ask(), PATIENCE))
        return Client(address, timeout=PATIENCE)
    except Exception as error:  # any other answer, or none
        reason = files.reason_of(error) if str(error) else f"no answer within {PATIENCE} s"
        raise RuntimeError(f"no scheduler at {address}: {reason}") from error


def facts(folder: Path) -> tuple[str, bool]:
    """The worker's code version, and whether it sees the folder; asked before it gets points."""
    return execute.code_here(), folder.is_dir()


def _check_workers(client: Client, scheduler: str, folder: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        start = f"dask worker {scheduler} --nthreads 1"
        raise RuntimeError(f"{scheduler} has no workers: start some by `{start}`") from error
    for address, answer in client.run(facts, folder, on_error="return").items():
        if isinstance(answer, BaseException):
            raise RuntimeError(f"worker {address}: {files.reason_of(answer)}")
        code, sees_folder = answer
        if code != execute.code_here():
            raise RuntimeError(f"worker {address} has {code}; here: {execute.code_here()}")
        if not sees_folder:
            raise RuntimeError(f"worker {address} does not see {folder}: it needs the same files")


# Running points


def run(
    jobs: Sequence[Job],
    batch: Batch,
    client: Client,
    *,
    retries: int = 0,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Execute all points in order; failed ones are repeated up to `retries` times after the others.

    `tell` is called with each outcome.
    """
    # At once and of one group: else Dask gives all points to workers before the first has ended.
    keys = [("point", f"{i:06}-{job.name}-{batch.session}-1") for i, job in enumerate(jobs)]
    first = client.map(execute.attempt, jobs, batch=batch, number=1, key=keys, pure=False)
    waiting = {future: (job, 1) for future, job in zip(first, jobs, strict=True)}
    ends, outcomes = as_completed(waiting), []
    for future in ends:
        job, number = waiting.pop(future)
        outcome = _outcome(future, job, batch, number)
        if outcome.error and number <= retries:
            key = "point", f"{job.name}-{batch.session}-{number + 1}"
            again = client.submit(execute.attempt, job, batch, number + 1, key=key, pure=False)
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
    line = f"{type(problem).__name__}: {files.reason_of(problem)}"
    return execute.give_up(job, batch, number, line)
