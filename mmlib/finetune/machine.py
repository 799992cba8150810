"""Processes, device, precision and memory of a run."""

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import torch
from accelerate import Accelerator

from mmlib.finetune.config import Config
from mmlib.text.encoder import has_bfloat16


def accelerator(config: Config) -> Accelerator:
    """The requested processes and device; ValueError if they are not available."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: cuda, but torch finds no GPU here; use device: cpu")
    accelerator = Accelerator(cpu=config.device == "cpu" or None)
    if accelerator.num_processes != config.processes:
        raise ValueError(
            f"processes: {config.processes}, but {accelerator.num_processes} run; start with "
            f"torchrun --nproc_per_node {config.processes} -m mmlib.finetune CONFIG.yaml"
        )
    return accelerator


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether encoders compute in bfloat16; "auto": if the device has instructions for it."""
    return has_bfloat16(device) if precision == "auto" else precision == "bfloat16"


def attention(asked: str, bfloat16: bool, device: torch.device) -> str:
    """The attention implementation; "auto": SDPA, unless it is slow.

    On a CPU, the gradient of SDPA in bfloat16 takes a third of a training step of MiniLM, that of
    plain matrix products less than a tenth (`tests/benchmarks/finetune.py`). DeBERTa has SDPA on
    GPUs only (`mmlib.finetune.deberta_sdpa`).
    """
    auto = "eager" if bfloat16 and device.type == "cpu" else "sdpa"
    return auto if asked == "auto" else asked


def budget(asked: int, device: torch.device) -> int:
    """Tokens per batch; default (0): as many as fill a GPU, or fit into the caches of a CPU."""
    return asked or (32768 if device.type == "cuda" else 4096)


def free(device: torch.device) -> int:
    """Bytes of free memory on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C or a scheduler's SIGTERM; a second signal acts as usual.

    So the current step can finish and its state be saved. Ignored signals stay ignored. Only the
    main thread receives signals; in any other thread the event is never set.
    """
    stop, usual = threading.Event(), {}

    def hear(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, usual[number])

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN):
                usual[number] = handler
                signal.signal(number, hear)
    try:
        yield stop
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def keep_memory() -> None:
    """Make glibc keep freed memory: allocating it again takes a third of each step."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 28)):
            mallopt(option, value)  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
