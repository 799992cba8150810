"""`python -m mmlib.finetune CONFIG.yaml`: see `mmlib.finetune.run`."""

import argparse
import logging
import sys
from contextlib import nullcontext
from pathlib import Path

from filelock import Timeout
from torch import distributed

from mmlib.covarep.work import end_stopped
from mmlib.files import cache_root, environment, locked
from mmlib.finetune import machine, run
from mmlib.finetune.config import read_config


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.finetune", description=run.__doc__)
    parser.add_argument("config", type=Path, help="YAML file of names and values")
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--export", type=Path, help="folder for the fine-tuned encoders")
    parser.add_argument("--seed", type=int, help="in place of the one in the file")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    machine.keep_memory()
    try:
        _run(given)
    except Timeout as busy:
        where = f"mmlib.finetune: {Path(busy.lock_file).parent}"
        raise SystemExit(f"{where}: another process trains there; wait, or change --out") from None
    except (ValueError, FloatingPointError, OSError) as problem:
        raise SystemExit(f"mmlib.finetune: {problem}") from None
    except KeyboardInterrupt as stop:
        end_stopped(f"mmlib.finetune: {str(stop) or 'interrupted'}")


def _run(given: argparse.Namespace) -> None:
    """Execute the run that the command line describes, and export its encoders."""
    config = read_config(given.config, **({} if given.seed is None else {"seed": given.seed}))
    if given.export and given.export.exists():
        raise ValueError(f"{given.export} exists; choose another folder")
    folder = given.out or cache_root() / "finetuned" / given.config.stem
    is_main = environment("RANK", "0") == "0"
    with locked(folder / ".lock", 0) if is_main else nullcontext():
        run.finetune(config, folder)
        if given.export and is_main:
            run.export(folder, given.export)
    if distributed.is_initialized():  # a process may be aborted if others leave first
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
