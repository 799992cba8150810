"""Frozen text features: options, caching, batches, and pooling of tokens.

`encode` collects everything that the features depend on (the encoder's files, options, library
versions), reads stored features from the cache, and runs the encoder on the other texts. On a CPU,
each core computes batches of its own: cores that share a matrix product wait for the slowest one.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from mmlib.data.corpus import checked_texts
from mmlib.files import is_watched, reason_of, refuse_unknown
from mmlib.text import use
from mmlib.text.attention import GROUP, GROUPED, to_groups
from mmlib.text.batching import bucket
from mmlib.text.cache import Row, Store
from mmlib.text.compressed import is_exact
from mmlib.text.encoder import check_length, has_bfloat16, identity, locate, versions
from mmlib.text.loaded import Encoder, ready
from mmlib.text.loaded import hidden_states as hidden_states

log = logging.getLogger(__name__)

# Only one thread of a process computes at a time, on all cores: a tokenizer cannot be shared, and
# the number of threads that torch uses is a global setting.
COMPUTING = threading.Lock()
CPU_TOKENS, GPU_TOKENS = 2048, 32768  # per batch, padding included
GROUPS = {"group": GROUP, "group_pooled": GROUP}  # both change the last bits
SOUND = ("bert", "roberta", "xlm-roberta", "distilbert", "deberta", "deberta-v2", "electra")
CHOICES = {
    "layers": ("last", "all"),
    "pooling": ("mean", "cls"),
    "dtype": ("float32", "bfloat16", "int8", "auto"),
    "attention": ("sdpa", "eager"),
}


@dataclass(frozen=True)
class Report:
    """Statistics of one call of `encode`."""

    texts: int
    distinct: int  # distinct texts; each is encoded once
    cached: int  # how many distinct texts were in the cache
    truncated: int  # how many of all texts were cut
    seconds: float
    settings: dict[str, Any]  # everything that the features depend on, besides the text


def encode(
    texts: Sequence[str],
    encoder: str | Path = "minilm",
    *,
    layers: str = "last",
    pooling: str = "mean",
    max_length: int = 128,
    dtype: str = "float32",
    attention: str = "sdpa",
    device: str | None = None,
    cache: bool = True,
    progress: bool | None = None,
    report: bool = False,
) -> np.ndarray | tuple[np.ndarray, Report]:
    """Frozen embeddings of texts: float32 (n, d), or (n, l, d) with layers="all".

    encoder: "minilm", "mpnet" (offline by the extras), a folder of `save_pretrained`, or a hub id.
    "use" (`mmlib.text.use`): multilingual, whole texts in float32, one layer, no tokens.
    layers: "last", or "all": the embedding layer, then every hidden layer.
    pooling: "mean" over a text's tokens, special tokens included, or "cls", its first token.
    max_length: in tokens; longer texts are cut, and their number is logged.
    dtype: of the weights. "bfloat16" (cosine to float32 about 0.9999) and "int8" (0.997, at worst
    0.97; `mmlib.text.compressed`) are faster if the device has instructions for them, and may be
    several times slower otherwise; "auto" uses bfloat16 only if it is faster.
    attention: the transformers implementation; encoders without "sdpa" use "eager".
    device: a torch device; default: the GPU if there is one.
    cache: read stored features and store new ones (`mmlib.text.cache`).
    progress: show a bar; default: only in an interactive session.
    report: return `(features, Report)`.

    The features of a text do not depend on the other texts: on a CPU, in float32 and int8, no bit
    does (`mmlib.text.attention`); on a GPU they agree within 1e-5. In bfloat16 the rounding may
    depend on the batch (cosine above 0.9999). ValueError for an empty text, an unknown option, or
    an encoder that cannot be loaded.
    """
    start, texts = time.perf_counter(), checked_texts(texts)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    options = {"layers": layers, "pooling": pooling, "max_length": max_length, "dtype": dtype}
    folder = locate(encoder)
    options = _settled({**options, "attention": attention}, device, folder)
    files = identity(folder, encoder)
    settings = options | GROUPS | files | versions() | _also(folder, device)
    store = Store(settings) if cache else None

    distinct = list(dict.fromkeys(texts))
    rows = store.get(distinct) if store else {}
    if missing := [text for text in distinct if text not in rows]:
        bar = is_watched() if progress is None else progress
        with store.turn(missing) if store else nullcontext(), COMPUTING:
            rows |= store.get(missing) if store else {}  # stored by another process in the meantime
            missing = [text for text in missing if text not in rows]
            if use.holds(folder):
                rows |= use.vectors(missing, folder, store, bar)
            elif missing:
                loaded = _load(folder, options["dtype"], attention, device, str(files))
                rows |= _compute(missing, loaded, options, store, bar)

    states = np.stack([rows[text]["states"] for text in texts])  # (n, l, d)
    truncated = sum(int(rows[text]["tokens"]) > max_length for text in texts)
    if truncated:
        log.warning("encode: %d of %d texts cut at %d tokens", truncated, len(texts), max_length)
    features = states if layers == "all" else states[:, 0]
    cached, seconds = len(distinct) - len(missing), time.perf_counter() - start
    made = Report(len(texts), len(distinct), cached, truncated, seconds, settings)
    return (features, made) if report else features


def _settled(options: dict[str, Any], device: torch.device, folder: Path) -> dict[str, Any]:
    """Check the options and replace dtype "auto" by the faster one on the device."""
    for name, choices in CHOICES.items():
        refuse_unknown(name, [options[name]], choices)
    if not isinstance(n := options["max_length"], int) or n < 3:
        raise ValueError(f"max_length={n!r} must be a whole number of at least 3")
    if use.holds(folder):
        return use.plain_options(options)
    if options["dtype"] == "auto":
        return {**options, "dtype": "bfloat16" if has_bfloat16(device) else "float32"}
    is_fast = {"bfloat16": has_bfloat16, "int8": is_exact}.get(dtype := options["dtype"])
    if is_fast and not is_fast(device):
        log.warning("encode: %s has no instructions for %s; float32 is faster", device.type, dtype)
    return options


def _also(folder: Path, device: torch.device) -> dict[str, object]:
    """The device unless it is a CPU, and a mark if features of untested encoders may be stored."""
    try:
        config = json.loads((folder / "config.json").read_text())
        sound = config.get("model_type") in SOUND and not config.get("is_decoder")
    except (OSError, ValueError, AttributeError):
        sound = True  # an unreadable config is reported when loading
    mark = {} if sound else {"tried": True}
    return mark | ({} if device.type == "cpu" else {"device": device.type})


@lru_cache(maxsize=1)  # `files` is in the key: a folder whose files changed is loaded again
def _load(folder: Path, dtype: str, attention: str, device: torch.device, files: str) -> Encoder:
    return ready(folder, dtype, attention, device)


def _compute(
    texts: list[str], encoder: Encoder, options: dict, store: Store | None, bar: bool
) -> dict[str, Row]:
    """Run the encoder on the texts; each finished batch is stored at once."""
    ids, lengths = _tokenize(texts, encoder, options["max_length"])
    total = sum(map(len, ids))
    workers, budget = _division(total, encoder.device)
    rows = {}
    with _pool(workers) as pool, tqdm(total=total, unit="token", disable=not bar) as progress:
        jobs = {
            pool.submit(_pooled, [ids[i] for i in batch], encoder, options): batch
            for batch in bucket([len(row) for row in ids], budget, encoder.reads_padding)
        }
        for job in as_completed(jobs):
            names = [texts[i] for i in jobs[job]]
            try:
                arrays = {"states": job.result(), "tokens": lengths[jobs[job]]}
            except RuntimeError as error:  # out of memory, or a length that the model rejects
                raise ValueError(
                    f"{encoder.model.name_or_path} cannot encode {len(jobs[job])} of the texts "
                    f"({reason_of(error)}); use another encoder or device, or shorter texts"
                ) from error
            if store:
                store.put(names, arrays)
            for i, name in enumerate(names):
                rows[name] = {key: array[i] for key, array in arrays.items()}
            progress.update(sum(len(ids[i]) for i in jobs[job]))
    return rows


def _division(total: int, device: torch.device) -> tuple[int, int]:
    """Number of workers, and tokens per batch, so that a worker gets at least four batches."""
    if device.type != "cpu":
        return 1, GPU_TOKENS
    workers = torch.get_num_threads()
    return workers, min(CPU_TOKENS, max(256, total // (4 * workers)))


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of single-core threads; after an interrupt no new job starts."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _tokenize(
    texts: list[str], encoder: Encoder, max_length: int
) -> tuple[list[list[int]], np.ndarray]:
    """Token ids, cut to `max_length` tokens, and the lengths before the cut."""
    check_length(max_length, encoder.model, encoder.tokenizer)
    ids = encoder.tokenizer(texts, verbose=False)["input_ids"]
    lengths = np.array([len(row) for row in ids])
    for i in np.flatnonzero(lengths > max_length):
        # let the tokenizer cut the text, so that the last special token is kept
        ids[i] = encoder.tokenizer(texts[i], truncation=True, max_length=max_length)["input_ids"]
    return ids, lengths


@torch.inference_mode()
def _pooled(ids: list[list[int]], encoder: Encoder, options: dict) -> np.ndarray:
    """Pooled states of one batch: (b, l, d) float32."""
    device = encoder.device
    tokens, lengths = _padded(ids, encoder)  # (b, t), (b, 1)
    place = torch.arange(tokens.shape[1])  # (t,)
    mask = (place < lengths).long()  # (b, t)
    states = encoder.states(tokens, mask, options["layers"] == "all")  # l of (b, t, d)
    counted = lengths if options["pooling"] == "mean" else torch.ones_like(lengths)
    weight = to_groups(((place < counted) / counted)[:, None].to(device), 2)  # (b, 1, t) in groups
    means = [weight @ to_groups(state.float(), 1) for state in states]  # l of (b, 1, d)
    return torch.cat(means, dim=1).cpu().numpy()


def _padded(ids: list[list[int]], encoder: Encoder) -> tuple[Tensor, Tensor]:
    """Token ids (b, t), padded to full groups unless the attention does that; lengths (b, 1)."""
    filler, config = encoder.tokenizer.pad_token_id or 0, encoder.model.config
    tokens = pad_sequence([torch.tensor(row) for row in ids], True, filler)
    t = tokens.shape[1]
    if encoder.reads_padding:
        return tokens, torch.full((len(ids), 1), t)  # all texts have the same length
    if config._attn_implementation != GROUPED or t < GROUP:  # with few rows, products differ, too
        tokens = to_groups(tokens, 1, filler)[
            :, : max(t, getattr(config, "max_position_embeddings", t))
        ]
    return tokens, torch.tensor([[len(row)] for row in ids])
