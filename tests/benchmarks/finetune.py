"""Speed of fine-tuning against a plain loop, and cost of the second encoder.

All ways train DyFuLM on MiniLM and MiniLM carried into DeBERTa-v2, with the same learning rates on
the same reviews: those of `hotel` if they are there, else the embedded ones, which are shorter. The
plain loop pads every batch to the maximum length, and computes in float32 with eager attention. In
both loops dropout is off. Each way has a process of its own, so that its peak memory is its own.
Compare ratios only. Arguments are maximum lengths, by default 128 and 256.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import send_to_device

from mmlib.data import load
from mmlib.data.corpus import first
from mmlib.dyfulm.losses import task_losses
from mmlib.files import data_root
from mmlib.finetune import evaluation, machine, run, step, tokens
from mmlib.finetune.config import Config
from mmlib.finetune.run import Run
from mmlib.text import made

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TEXTS, BATCH = (128, 16) if DEVICE == "cpu" else (2048, 64)  # reviews in all, reviews a step
LATENCY = 20  # reviews read one by one
OURS = Config(
    ["minilm", "carried"],
    utterances=TEXTS,
    batch=BATCH,
    epochs=10,
    lr=1e-4,
    dropout=0.0,
    device=DEVICE,
    budget=2048 if DEVICE == "cpu" else 32768,
)
WAYS = {
    "plain loop": replace(OURS, precision="float32", attention="eager"),
    "ours in float32": replace(OURS, precision="float32"),
    "ours": OURS,
    "ours, eager": replace(OURS, attention="eager"),
    "ours, SDPA": replace(OURS, attention="sdpa"),
    "ours, A alone": replace(OURS, encoders=["minilm"]),
    "ours, B alone": replace(OURS, encoders=["carried"]),
}


def clock() -> float:
    """Seconds: on a CPU those of the process, which other programs disturb less."""
    if DEVICE == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def seconds(run: Callable[[], object]) -> float:
    start = clock()
    run()
    return clock() - start


def peak() -> float:
    """Peak memory so far, in GiB."""
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Plain(run.Run):
    """The same run in its simplest form: each step is one batch, padded to the maximum length."""

    def update(self, rows: np.ndarray) -> float:
        learner, plan = self.learner, self.plan
        learner.pair.train()
        batch, noise = plan.tokens.batch(rows), step.noise(plan.config, 0, 0, 0)
        batch = send_to_device(batch, self.device)
        losses = task_losses(learner.pair(batch, noise), plan.targets_of(rows), **plan.loss_options)
        loss = learner.weighting(losses).sum()
        learner.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters, plan.config.clip)
        step.update(learner, plan, self.progress.step)
        self.progress.step += 1
        return loss.item()

    def pad(self) -> None:
        texts, longest = self.plan.tokens, self.plan.config.max_length
        short = texts.batch

        def padded(rows: np.ndarray) -> tokens.Batch:
            batch = short(rows)
            grow = (0, longest - batch.mask.shape[1])
            mask = torch.nn.functional.pad(batch.mask, grow)
            ids = [
                torch.nn.functional.pad(one, grow, value=pad)
                for one, pad in zip(batch.ids, texts.padding, strict=True)
            ]
            attended = [torch.nn.functional.pad(one, grow) for one in batch.attended]
            return batch._replace(ids=tuple(ids), attended=tuple(attended), mask=mask)

        object.__setattr__(texts, "batch", padded)
        groups = [{**group, "fused": False} for group in self.learner.optimizer.param_groups]
        self.learner = replace(self.learner, optimizer=torch.optim.AdamW(groups))


def measure(way: str, max_length: int) -> dict[str, float]:
    """Measures of one way: training, reading many, reading one by one, memory, parameters."""
    machine.keep_memory()
    is_plain = way == "plain loop"
    dataset = "hotel" if (data_root() / "hotel").is_dir() else "synthetic_reviews"
    config = replace(WAYS[way], dataset=dataset, max_length=max_length)
    corpus = first(load(dataset), TEXTS)
    words = [corpus.text[i] for i in corpus.rows("train")]
    config = replace(config, encoders=[str(made.named(e, words)) for e in config.encoders])
    with tempfile.TemporaryDirectory() as folder:
        run = (Plain if is_plain else Run)(config, Path(folder), corpus)
        if is_plain:
            run.pad()
        texts, rows = run.plan.tokens, run.plan.rows["train"]
        plan = tokens.steps(texts.lengths[rows], BATCH, 0, 0)
        run.update(rows[plan[0]])  # warms up
        losses = []
        trained = seconds(lambda: losses.extend(run.update(rows[part]) for part in plan[1:]))
        model = run.learner.pair
        read = seconds(lambda: evaluation.predict(model, texts, rows, config.budget))
        one = [
            seconds(lambda k=k: evaluation.predict(model, texts, rows[k : k + 1]))
            for k in range(LATENCY)
        ]
    return {
        "training, reviews/s": (TEXTS - len(plan[0])) / trained,
        "reading, reviews/s": TEXTS / read,
        "reading one, ms": 1000 * float(np.median(one)),
        "memory, GiB": peak(),
        "parameters, million": sum(p.numel() for p in model.parameters()) / 1e6,
        "mean loss": float(np.mean(losses)),
        "tokens of a review": float(texts.lengths[rows].mean()),
        "cut, %": 100 * float(texts.cut[rows].mean()),
    }


def main() -> None:
    if sys.argv[1:2] == ["--way"]:
        return print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
    threads = torch.get_num_threads()
    print(f"{DEVICE}, {threads} threads, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    for max_length in map(int, sys.argv[1:] or (128, 256)):
        command = [sys.executable, __file__, "--way"]
        found = {
            way: json.loads(
                subprocess.run(
                    [*command, way, str(max_length)], check=True, stdout=subprocess.PIPE
                ).stdout
            )
            for way in WAYS
        }
        print(f"\nmax_length {max_length}")
        for name in found["ours"]:
            print(f"{name:24}" + "".join(f"{one[name]:12.3f}" for one in found.values()))
        print(f"{'':24}" + "".join(f"{way.removeprefix('ours, '):>12}" for way in WAYS))
        for name in ("training, reviews/s", "reading, reviews/s"):
            ratio = found["ours"][name] / found["plain loop"][name]
            print(f"{name}: ours {ratio:.2f} times the plain loop")


if __name__ == "__main__":
    main()
