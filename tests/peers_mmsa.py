"""One model of MMSA 2.2.1 on a pickle, seed by seed: test predictions, and what training costs.

    python tests/peers_mmsa.py PICKLE MODEL OUT SEED ...

Runs in MMSA's own environment, started by `tests/benchmarks/peers.py`; writes OUT.SEED.npz. It is
MMSA's model, trainer, loader and stored configuration for CMU-MOSI. Its trainers stop when the
validation loss has not fallen for 8 epochs (`early_stop`) and keep the weights of the epoch where
it was lowest; the test split is read once, after that. What is done from outside:

- torch has taken the argument `verbose` out of ReduceLROnPlateau: it is swallowed.
- a last batch of one utterance fails in batch normalisation: such a batch is left out, which is
  another utterance each epoch.
- a convolution over 5 frames (MulT) cannot run on a modality of one frame: it is over 1 there.
"""

import re
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.optim import lr_scheduler

plateau = lr_scheduler.ReduceLROnPlateau
lr_scheduler.ReduceLROnPlateau = lambda *args, verbose=None, **rest: plateau(*args, **rest)

from MMSA.config import get_config_regression  # noqa: E402
from MMSA.data_loader import MMDataLoader  # noqa: E402
from MMSA.models import AMIO  # noqa: E402
from MMSA.trains import ATIO  # noqa: E402
from MMSA.utils import count_parameters, setup_seed  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402


def data(content: str, model: str, weights: Path) -> tuple[dict, dict]:
    """MMSA's configuration for MOSI and its loaders, which work in this process."""
    args = get_config_regression(model, "mosi", "")
    args.update(custom_feature=content, feature_T=None, feature_A=None, feature_V=None, cur_seed=1,
                device="cpu", train_mode="regression", model_save_path=weights)  # fmt: skip
    loaders = MMDataLoader(args, 0)
    if len(loaders["train"].dataset) % args.batch_size == 1:
        rows = loaders["train"].dataset
        loaders["train"] = DataLoader(rows, args.batch_size, shuffle=True, drop_last=True)
    for letter, frames in zip("lav", loaders["train"].dataset.get_seq_len(), strict=True):
        if frames < args.get(name := f"conv1d_kernel_size_{letter}", 0):
            args[name] = 1
    return args, loaders


def predict(model: torch.nn.Module, loader: DataLoader) -> tuple[list[str], np.ndarray]:
    """Ids and predictions (n,) of a loader's utterances."""
    ids, score = [], []
    model.eval()
    with torch.no_grad():
        for batch in loader:
            output = model(batch["text"], batch["audio"], batch["vision"])["M"]
            ids += batch["id"]
            score.append(output.numpy().reshape(-1))
    return ids, np.concatenate(score)


def peak() -> float:
    """Peak memory of this process in MiB; getrusage counts the process that started it, too."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def run(content: str, name: str, out: Path, seed: int) -> None:
    """Train one seed and write its predictions; CPU seconds are those of training alone."""
    setup_seed(seed)
    weights = out.with_suffix(".pth")
    args, loaders = data(content, name, weights)
    start, losses = time.process_time(), []
    model = AMIO(args)
    trainer = ATIO().getTrain(args)
    test = trainer.do_test

    def counted(*given: object, **named: object) -> dict:
        found = test(*given, **named)
        losses.append(found["Loss"])
        return found

    trainer.do_test = counted
    trainer.do_train(model, loaders)
    seconds = time.process_time() - start
    model.load_state_dict(torch.load(weights))
    weights.unlink()
    ids, score = predict(model, loaders["test"])
    part = out.with_suffix(".part.npz")
    np.savez(part, ids=ids, score=score, seconds=seconds, epochs=len(losses), valid=min(losses),
             mib=peak(), torch=torch.__version__, parameters=count_parameters(model))  # fmt: skip
    part.replace(out)


def main() -> None:
    content, name, out, *seeds = sys.argv[1:]
    torch.set_num_threads(1)
    for seed in map(int, seeds):
        run(content, name, Path(f"{out}.{seed}.npz"), seed)


if __name__ == "__main__":
    main()
