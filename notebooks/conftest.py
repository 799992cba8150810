"""How nbval compares a run with the stored outputs: word for word, where arithmetic is the same.

`arithmetic.json` holds, by notebook, the fingerprint of the arithmetic its stored run was made with
(`make notebooks` writes it). A processor that rounds other last bits trains other models: there a
notebook's cells are run and their assertions, which hold the claims, are checked; its outputs are
not compared, and pytest says so.
"""

import json
import sys
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

STORED = Path(__file__).with_name("arithmetic.json")


@lru_cache
def arithmetic() -> str:
    """SHA-256 of what a transformer layer, its gradients and numpy make of fixed numbers here."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = torch.nn.TransformerEncoderLayer(384, 12, 1536, 0.0, "gelu", batch_first=True)
        x = torch.randn(8, 33, 384)  # (b, t, d)
    said = layer(x)
    said.square().mean().backward()
    a = x[:, 0].numpy()
    found = [said.detach(), *(p.grad for p in layer.parameters())]
    found += [a @ a.T, np.exp(a), np.linalg.svd(a)[1]]
    return sha256(b"".join(np.asarray(part).tobytes() for part in found)).hexdigest()


def foreign() -> list[str]:
    """Notebooks whose stored run was made with other arithmetic than is found here."""
    return [name for name, made in json.loads(STORED.read_text()).items() if made != arithmetic()]


def note(name: str) -> None:
    """Keep the fingerprint of the arithmetic that a notebook's run is made with."""
    kept = json.loads(STORED.read_text()) if STORED.exists() else {}
    STORED.write_text(json.dumps({**kept, name: arithmetic()}, indent=1, sort_keys=True) + "\n")


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):  # a notebook under nbval
        collector.skip_compare += ("stderr", "text/html", "image/svg+xml")


def pytest_itemcollected(item):
    if hasattr(item, "sanitize") and item.path.stem in foreign():  # a cell under nbval
        item.options["check"] = False


def pytest_terminal_summary(terminalreporter):
    if names := foreign():
        terminalreporter.write_line(
            "arithmetic rounds otherwise here than in the stored runs (another processor or other "
            f"threads): cells and assertions were run, outputs not compared: {', '.join(names)}",
            yellow=True,
        )


if __name__ == "__main__":
    note(*sys.argv[1:])
