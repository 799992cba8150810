"""Share of a GPU's peak speed that training reaches with the paper's two encoders at full size.

DyFuLM on RoBERTa-base and DeBERTa-base in bfloat16, or on RoBERTa-base alone, learns from reviews
of at most 256 tokens: those of `hotel` if they are there, else the embedded ones. The share counts
the encoders' matrix products on real tokens only, forward and twice that backward. The peak is this
GPU's rate for a large bfloat16 product, measured first. Weights are random and the tokenizer (byte
pairs of the reviews) is made here, because speed does not depend on them. Arguments are ways, by
default all. Without a GPU everything is tiny and only shows that it runs.
"""

import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from torch.profiler import ProfilerActivity, profile
from transformers import (
    DebertaConfig,
    DebertaModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from mmlib.data import SPLITS, Corpus, load
from mmlib.files import data_root
from mmlib.finetune import deberta_sdpa, tokens
from mmlib.finetune.config import Config
from mmlib.finetune.run import Run

IS_GPU = torch.cuda.is_available()
DEVICE = "cuda" if IS_GPU else "cpu"
TEXTS, BATCH, MAX_LENGTH = (2048, 128, 256) if IS_GPU else (48, 8, 32)
TINY = {} if IS_GPU else {"hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 4,
                          "num_hidden_layers": 2}  # fmt: skip
# Settings of the public checkpoints. Sizes are defaults of the classes: 12 layers of 768, 12 heads.
COMMON = {"vocab_size": 50265, "layer_norm_eps": 1e-5, **TINY}
DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
DEBERTA |= {"position_biased_input": False, "max_position_embeddings": 512, "layer_norm_eps": 1e-7}
OURS = Config(
    ["roberta", "deberta"],
    max_length=MAX_LENGTH,
    batch=BATCH,
    epochs=3,
    budget=BATCH * MAX_LENGTH,
    lr=2e-5,
    dropout=0.0,
    device=DEVICE,
    precision="bfloat16",
    attention="sdpa",
)
WAYS = {
    "RoBERTa": replace(OURS, encoders=["roberta"]),
    "RoBERTa, compiled": replace(OURS, encoders=["roberta"], compile=True),
    "pair, eager": replace(OURS, attention="eager"),
    "pair, DeBERTa as it comes": OURS,  # and RoBERTa by SDPA
    "pair": OURS,
    "pair, compiled": replace(OURS, compile=True),
}


def make(folder: Path, corpus: Corpus) -> dict[str, str]:
    """Make the two encoders; their folders by name."""
    pairs = ByteLevelBPETokenizer(add_prefix_space=False)
    marks = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    marks |= {"cls": "<s>", "sep": "</s>"}
    special = list(dict.fromkeys(marks.values()))
    pairs.train_from_iterator(
        corpus.text, vocab_size=20000, special_tokens=special, show_progress=False
    )
    pairs.save(str(folder / "tokenizer.json"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        model_max_length=512,
        **{f"{name}_token": mark for name, mark in marks.items()},
    )
    roberta = RobertaConfig(max_position_embeddings=514, type_vocab_size=1, **COMMON)
    deberta = DebertaConfig(**COMMON | DEBERTA)
    for name, kind, config in (
        ("roberta", RobertaModel, roberta),
        ("deberta", DebertaModel, deberta),
    ):
        with torch.device(DEVICE):
            kind(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return {name: str(folder / name) for name in ("roberta", "deberta")}


def flops(run: Run, rows: np.ndarray) -> float:
    """Multiplications and additions in the products of a training step, for real tokens only."""
    lengths, total = run.plan.tokens.lengths[rows].astype(float), 0.0
    for encoder in run.learner.pair.encoders:
        c = encoder.config
        dense = 4 * c.hidden_size**2 + 2 * c.hidden_size * c.intermediate_size
        products = 4 if c.model_type == "deberta" else 2  # q k, p v; and q K_r, k Q_r
        layer = 2 * dense * lengths + 2 * products * c.hidden_size * lengths**2
        total += 3 * c.num_hidden_layers * layer.sum()
    return total


def peak(n: int = 8192 if IS_GPU else 512, times: int = 20) -> float:
    """FLOP/s of an n x n bfloat16 matrix product."""
    left, right = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    began = now()
    for _ in range(times):
        left @ right
    return 2 * n**3 * times / (now() - began)


def now() -> float:
    if IS_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(config: Config, corpus: Corpus, rate: float) -> dict[str, float]:
    """Measures of the training steps of one way, in a second pass over the same batch shapes."""
    if IS_GPU:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, Path(folder), corpus)
        rows, lengths, began = run.plan.rows["train"], run.plan.tokens.lengths, now()
        plan = [rows[part] for part in tokens.steps(lengths[rows], BATCH, 0, 0)]
        for part in plan:  # compiles, loads kernels, allocates memory
            run.update(part)
        first, began = now() - began, now()
        losses = [run.update(part) for part in plan]
        seconds = now() - began
        for part in plan[:2]:
            shares(run, part)
    done = sum(flops(run, part) for part in plan) / seconds
    return {
        "reviews/s": sum(map(len, plan)) / seconds,
        "TFLOP/s": done / 1e12,
        "share of the peak": done / rate,
        "memory, GiB": torch.cuda.max_memory_allocated() / 2**30 if IS_GPU else float("nan"),
        "first pass, s": first,
        "mean loss": float(np.mean(losses)),
        "tokens of a review": float(lengths[rows].mean()),
    }


KINDS = {  # kind -> parts of a kernel's name; the first kind that fits is taken
    "matrix products": ("gemm", "nvjet", "cutlass", "xmma", "splitK", "cublas"),
    "SDPA": ("fmha", "flash", "attention", "cudnn"),
    "compiled, element by element": ("triton_",),
    "look-ups and their gradients": ("gather", "scatter", "index", "embedding"),
    "optimizer": ("adam", "multi_tensor"),
    "normalisation and softmax": ("layer_norm", "LayerNorm", "GammaBeta", "softmax", "SoftMax"),
    "copies": ("copy", "Memcpy", "Memset", "CatArray"),
    "element by element": ("elementwise", "reduce"),
}


def shares(run: Run, rows: np.ndarray) -> None:
    """Print the GPU's time in one step by kind of kernel, and its idle time."""
    if not IS_GPU:
        return
    began = now()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run.update(rows)
        took = now() - began
    spent: dict[str, float] = defaultdict(float)
    for event in seen.key_averages():
        fitting = (k for k, parts in KINDS.items() if any(p in event.key for p in parts))
        spent[next(fitting, "other")] += event.self_device_time_total / 1e6
    busy = sum(spent.values())
    line = ", ".join(f"{k} {v / busy:.2f}" for k, v in sorted(spent.items(), key=lambda i: -i[1]))
    print(f"    busy {busy / took:.2f} of a step under the profiler; of that {line}", flush=True)


def main() -> None:
    dataset = "hotel" if (data_root() / "hotel").is_dir() else "synthetic_reviews"
    corpus = load(dataset)
    corpus = corpus.take(
        np.concatenate([corpus.rows("train")[:TEXTS], *(corpus.rows(s)[:8] for s in SPLITS[1:])])
    )
    where = torch.cuda.get_device_name() if IS_GPU else "CPU, tiny"
    rate = peak()
    print(f"{where}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}, {dataset}")
    print(f"bfloat16 matrix product {rate / 1e12:.0f} TFLOP/s; {BATCH} reviews a step", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder), corpus)
        own = deberta_sdpa.use_sdpa
        for way in sys.argv[1:] or WAYS:
            config = WAYS[way]
            deberta_sdpa.use_sdpa = (lambda pair: pair) if "as it comes" in way else own
            config = replace(config, encoders=[made[name] for name in config.encoders])
            found = measure(config, corpus, rate)
            print(way + ": " + ", ".join(f"{k} {v:.3g}" for k, v in found.items()), flush=True)


if __name__ == "__main__":
    main()
