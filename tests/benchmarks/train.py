"""Time per seed: a stack of 20 seeds against loops over one seed, in one run.

All ways train DAF (width 64) with AdamW for the same epochs on the same random features of
CMU-MOSI's size, and read the validation split after each epoch. A round measures each way once. The
table has the median and the best round of each ratio; compare ratios only.
"""

import os
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from mmlib.daf import train
from mmlib.daf.train import Settings
from mmlib.stack.loop import EPS
from mmlib.stack.vectors import Features, Scaler

ROWS = {"train": 1281, "valid": 229}
SIZES = [{"text": 384, "audio": 73}, {"text": 2688, "audio": 73}]  # last layer of MiniLM, or all
SEEDS, ROUNDS = 20, 5
SETTINGS = Settings(epochs=5, patience=5)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def random_features(dims: dict[str, int]) -> Features:
    rng = np.random.default_rng(0)
    n = sum(ROWS.values())
    x = {m: rng.standard_normal((n, d), dtype=np.float32) for m, d in dims.items()}
    label = x["text"][:, :8].mean(axis=1)
    ids, split = tuple(map(str, range(n))), np.repeat(list(ROWS), list(ROWS.values()))
    present = np.ones((n, len(dims)), dtype=bool)
    return Features("random", ids, ids, split, label, x, present, Scaler({}, {}))


class Plain(nn.Module):
    """DAF in the usual form of a single model.

    columns: whether feature dropout drops whole columns of a batch, as `mmlib.daf.train` does; else
    it drops single values, as is usual.
    """

    def __init__(self, dims: dict[str, int], columns: bool, width: int = 64) -> None:
        super().__init__()
        self.columns, m = columns, len(dims)
        self.project = nn.ModuleList(nn.Linear(d, width) for d in dims.values())
        self.scorer = nn.Sequential(nn.Linear(m * width, 16), nn.ReLU(), nn.Linear(16, m))
        self.head = nn.Linear(width, 1)
        self.feature_dropout = nn.Dropout(SETTINGS.feature_dropout)
        self.dropout = nn.Dropout(SETTINGS.dropout)

    def forward(self, *x: Tensor) -> Tensor:
        h = [torch.tanh(f(self.thin(x_m))) for f, x_m in zip(self.project, x, strict=True)]
        h = self.dropout(torch.stack(h, dim=-2))  # (b, m, h)
        weights = self.scorer(h.flatten(-2)).softmax(-1)  # (b, m)
        return self.head((weights[..., None] * h).sum(-2))[..., 0]

    def thin(self, x: Tensor) -> Tensor:
        if self.columns:
            return x * self.feature_dropout(torch.ones_like(x[:1]))
        return self.feature_dropout(x)


def batches(rows: Tensor) -> tuple[Tensor, ...]:
    """Full batches of the rows in random order."""
    order = rows[torch.randperm(len(rows))]
    return order.split(SETTINGS.batch)[: len(rows) // SETTINGS.batch]


def one_seed(features: Features, fused: bool, columns: bool) -> None:
    """Train one model in the usual loop over batches, with torch's own random numbers."""
    model = Plain(features.dims, columns).to(DEVICE)
    adamw = torch.optim.AdamW(model.parameters(), SETTINGS.lr, eps=EPS, fused=fused or None)
    x, _, label = train.tensors(features, DEVICE)
    rows, valid = (torch.from_numpy(features.rows(split)) for split in ROWS)
    for _ in range(SETTINGS.epochs):
        model.train()
        for batch in batches(rows):
            adamw.zero_grad()
            score = model(*(v[batch] for v in x.values()))
            train.error(score, label[batch], SETTINGS.corner).mean().backward()
            adamw.step()
        model.eval()
        with torch.inference_mode():
            (model(*(v[valid] for v in x.values())) - label[valid]).abs().mean().item()


def vmapped(features: Features) -> None:
    """Train all seeds by torch.func: vmap over stacked parameters of the gradient of one loss."""
    models = [Plain(features.dims, columns=True) for _ in range(SEEDS)]
    state, _ = stack_module_state(models)
    state = {name: value.detach().to(DEVICE) for name, value in state.items()}
    adamw = torch.optim.AdamW(state.values(), SETTINGS.lr, eps=EPS, fused=True)
    x, _, label = train.tensors(features, DEVICE)
    rows, valid = (torch.from_numpy(features.rows(split)) for split in ROWS)

    def error(parameters: dict[str, Tensor], batch: Tensor, label: Tensor) -> Tensor:
        score = functional_call(models[0], parameters, tuple(batch))
        return train.error(score, label, SETTINGS.corner).mean()

    gradients = vmap(grad(error), randomness="different")
    errors = vmap(error, in_dims=(0, None, None))
    for _ in range(SETTINGS.epochs):
        models[0].train()
        for batch in zip(*(batches(rows) for _ in range(SEEDS)), strict=True):
            at = torch.stack(batch)  # (s, b)
            for name, value in gradients(state, [v[at] for v in x.values()], label[at]).items():
                state[name].grad = value
            adamw.step()
        models[0].eval()
        with torch.inference_mode():
            errors(state, [v[valid] for v in x.values()], label[valid]).cpu()


def stacked(features: Features, seeds: int = SEEDS) -> None:
    train.fit(features, SETTINGS, range(seeds), device=DEVICE)


def seconds(run: Callable[[], None]) -> float:
    """Seconds of a call: on a CPU those of the process, which other programs disturb less."""
    clock = time.process_time if DEVICE == "cpu" else time.perf_counter
    start = clock()
    run()
    return clock() - start


LOOPS = {  # loop over one seed -> whether AdamW is fused, whether dropout is of whole columns
    "plain loop, AdamW, dropout of values": (False, False),
    "plain loop, AdamW, dropout of columns": (False, True),
    "plain loop, fused AdamW, dropout of columns": (True, True),
}


def ratios(features: Features) -> dict[str, float]:
    """Ratios of one round. Larger ones favour the stack, except in the last row."""
    stack = seconds(lambda: stacked(features))
    loops = {name: seconds(lambda how=how: one_seed(features, *how)) for name, how in LOOPS.items()}
    return {
        **{name: SEEDS * alone / stack for name, alone in loops.items()},
        "vmap(grad), fused AdamW, dropout of columns": seconds(lambda: vmapped(features)) / stack,
        "stack of 20 : stack of one, whole time": stack / seconds(lambda: stacked(features, 1)),
    }


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    where = f"{torch.get_num_threads()} thread(s)" if DEVICE == "cpu" else "one GPU"
    print(f"torch {torch.__version__}, {where}, fused AdamW, load average {os.getloadavg()[0]:.1f}")
    print(f"{SEEDS} seeds, batches of {SETTINGS.batch}, {SETTINGS.epochs} epochs, {ROUNDS} rounds")
    for dims in SIZES:
        features = random_features(dims)
        stacked(features)  # warms up
        rounds = [ratios(features) for _ in range(ROUNDS)]
        sizes = " + ".join(map(str, dims.values()))
        print(f"\n{ROWS['train']} x {sizes}: time per seed : ours{'median':>14}{'best':>9}")
        for name in rounds[0]:
            values = [one[name] for one in rounds]
            best = min(values) if name.startswith("stack") else max(values)
            print(f"{name:46}{np.median(values):9.2f}{best:9.2f}")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
