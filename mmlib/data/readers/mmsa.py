"""Pickles of MMSA, MulT and MultiBench: {split: {"audio": (n, t, d), "vision": ..., ...}}.

Keys and shapes as MMSA's `data_loader.py` and MulT's `dataset.py` read them.
"""

import re
from pathlib import Path

import numpy as np

from mmlib.data.columns import names
from mmlib.data.corpus import SPLITS, Corpus, DataError, Sequences
from mmlib.data.readers.frames import pack_padded
from mmlib.data.readers.unpickle import load_pickle
from mmlib.files import refuse_unknown, sha256

VARIANTS = {
    (74, 35): "COVAREP 74, FACET 35",
    (74, 47): "COVAREP 74, FACET 4.1 47",
    (5, 20): "CMU's selection, COVAREP 5, FACET 20",
}


def read_mmsa(
    path: Path,
    *,
    text_features: bool = False,
    lengths: str = "file",
    dims: tuple[int, int] | None = None,
) -> Corpus:
    """CMU-MOSI or CMU-MOSEI from a pickle with splits train, valid, test.

    `text_features` adds the frozen token features of the file (BERT 768, GloVe 300) as sequences
    "text". Padding goes by `lengths`: "file" cuts at audio_lengths and vision_lengths where the
    file has them; "zeros" ignores them. MMSA computed them as the first frame whose columns add up
    to zero (its `getLengths.py`), so a face lost for one frame ends the sequence: a note counts
    that. Frames of zeros are left out either way. Audio and vision widths must be a known variant
    or those declared as `dims`.
    """
    refuse_unknown("lengths", [lengths], ("file", "zeros"), DataError)
    parts = _parts(path)
    sizes = [len(part["audio"]) for part in parts]
    variant = _variant(path, parts, dims)
    ids, groups = _ids(parts, sizes)
    sequences: dict[str, Sequences] = {}
    notes: list[str] = []
    for modality in ("audio", "vision", *(["text"] if text_features else [])):
        sequences[modality] = _sequences(path, parts, modality, lengths == "file", notes)
    if ids == groups:
        notes.append("the file names no videos: each utterance counts as its own group")
    return Corpus(
        name=path.parent.name,
        variant=variant,
        ids=ids,
        groups=groups,
        split=np.repeat(SPLITS, sizes),
        label=np.concatenate([_labels(path, part) for part in parts]),
        text=_text(parts),
        sequences=sequences,
        notes=tuple(notes),
        checksums={path.name: sha256(path)},
    )


def _parts(path: Path) -> list[dict]:
    """The three splits, in order, each with audio and vision of shape (n, t, d)."""
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path.name}: holds a {type(content).__name__}; expected a dict of splits")
    content = {"valid": content.get("dev"), **content}
    parts = []
    for split in SPLITS:
        part = content.get(split)
        if not isinstance(part, dict):
            raise DataError(
                f"{path.name}: no split {split!r}; it has {', '.join(map(str, content))}"
            )
        for key in ("audio", "vision"):
            if np.ndim(part.get(key)) != 3:
                raise DataError(
                    f"{path.name}: {split} {key} must be an array (utterances, frames, columns); "
                    f"its keys are {', '.join(map(str, part))}"
                )
        parts.append(part)
    return parts


def _variant(path: Path, parts: list[dict], dims: tuple[int, int] | None) -> str:
    widths = {(part["audio"].shape[2], part["vision"].shape[2]) for part in parts}
    known = {tuple(dims): "as declared"} if dims else VARIANTS
    if len(widths) > 1 or not widths <= set(known):
        raise DataError(
            f"{path.name}: audio and vision have {' and '.join(map(str, sorted(widths)))} columns; "
            f"expected one of {', '.join(map(str, known))}, or declare dims=(audio, vision)"
        )
    return f"{path.name}, {known[widths.pop()]}"


def _ids(parts: list[dict], sizes: list[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Utterance ids and their videos: `video$_$clip`, `video[clip]` or (video, start, end)."""
    ids: list[str] = []
    for split, part, n in zip(SPLITS, parts, sizes, strict=True):
        given = part.get("id")
        given = [f"{split}-{i}" for i in range(n)] if given is None else given
        ids += ["$_$".join(map(_plain, np.atleast_1d(np.asarray(row))[:2])) for row in given]
    return tuple(ids), tuple(re.split(r"\$_\$|\[", name)[0] for name in ids)


def _plain(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _text(parts: list[dict]) -> tuple[str, ...] | None:
    if any("raw_text" not in part for part in parts):
        return None
    return tuple(_plain(text) for part in parts for text in part["raw_text"])


def _labels(path: Path, part: dict) -> np.ndarray:
    """Sentiment (n,): the first column, where MOSEI's emotions follow it."""
    labels = part.get("regression_labels", part.get("labels"))
    if labels is None:
        raise DataError(f"{path.name}: neither regression_labels nor labels in {', '.join(part)}")
    labels = np.asarray(labels, dtype=np.float32)
    return labels.reshape(len(labels), -1)[:, 0]


def _sequences(
    path: Path, parts: list[dict], modality: str, use_lengths: bool, notes: list[str]
) -> Sequences:
    if any(np.ndim(part.get(modality)) != 3 for part in parts):
        raise DataError(f"{path.name}: no {modality} features (utterances, frames, columns)")
    arrays = [np.asarray(part[modality]) for part in parts]
    lengths = _lengths(path, parts, modality) if use_lengths else None
    columns = names(modality, arrays[0].shape[2])
    sequences = pack_padded(modality, arrays, columns, notes, lengths)
    if lengths is not None:
        beyond = sum(
            bool(row[k:].any())
            for array, cut in zip(arrays, lengths, strict=True)
            for row, k in zip(array, cut, strict=True)
        )
        if beyond:
            notes.append(
                f"{modality}: {beyond} utterances have frames beyond the length the file states; "
                "lengths='zeros' keeps them"
            )
    return sequences


def _lengths(path: Path, parts: list[dict], modality: str) -> list[np.ndarray] | None:
    """Stated lengths (n,) of each split, or for token features the sum of the BERT mask."""
    if modality == "text":
        key = "text_bert"
        given = [np.sum(part[key], axis=2)[:, 1] for part in parts if key in part]
    else:
        key = f"{modality}_lengths"
        given = [np.ravel(part[key]) for part in parts if key in part]
    if len(given) < len(parts):
        return None
    for part, cut in zip(parts, given, strict=True):
        n, t, _ = part[modality].shape
        if len(cut) != n or (cut < 1).any() or (cut > t).any():
            raise DataError(
                f"{path.name}: {key} must hold {n} lengths from 1 to {t}, it has {len(cut)} from "
                f"{min(cut, default=0)} to {max(cut, default=0)}; correct it or use lengths='zeros'"
            )
    return [cut.astype(np.int64) for cut in given]
