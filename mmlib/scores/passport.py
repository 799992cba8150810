"""The data passport: what was read, what is wrong with it, and the scores of constants.

It contains counts, statistics and ids, but no text of utterances.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.data.check import crossing_groups
from mmlib.data.corpus import SPLITS, Corpus, Scale, Sequences
from mmlib.files import write_whole
from mmlib.scores.metrics import METRICS


@dataclass(frozen=True)
class Passport:
    """Facts of one corpus as tables, `frames[name]`, and as text (`print`)."""

    name: str
    variant: str
    scale: str
    checksums: dict[str, str]  # file name -> sha256
    frames: dict[str, pd.DataFrame]  # splits, classes, base_rates (with labels), arrays, columns
    without_features: dict[str, list[str]]  # modality -> ids
    crossing_groups: dict[str, tuple[str, ...]]  # group -> splits; an error at loading
    duplicate_texts: dict[str, int]  # "train & test" -> distinct texts in both
    notes: tuple[str, ...]  # what the loader dropped or filled in
    warnings: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """Sizes, class counts and label statistics by split."""
        return self.frames["splits"].join(self.frames["classes"])

    def __str__(self) -> str:
        facts = [f"{self.name}: {self.variant}", f"scale: {self.scale}"]
        facts += [f"sha256 {file}: {digest}" for file, digest in self.checksums.items()]
        facts += [f"WARNING {text}" for text in self.warnings]
        facts += [f"note: {text}" for text in self.notes]
        missing = {m: len(ids) for m, ids in self.without_features.items()}
        facts.append(f"ids without features: {missing or 'none'}")
        facts.append(f"groups in several splits: {len(self.crossing_groups) or 'none'}")
        facts.append(f"texts in several splits: {self.duplicate_texts or 'none'}")
        for name, frame in self.frames.items():
            if len(frame):
                facts.append(f"\n{name}\n{frame.to_string(float_format='{:.3f}'.format)}")
        return "\n".join(facts)

    def save(self, path: Path | str) -> Path:
        """Write everything as JSON, atomically."""
        path = Path(path)
        facts = {k: v for k, v in vars(self).items() if k != "frames"}
        tables = {k: frame.reset_index().to_dict("records") for k, frame in self.frames.items()}
        write_whole(path, json.dumps({**facts, "frames": tables}, indent=1, default=_plain))
        return path


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)


def passport(corpus: Corpus) -> Passport:
    """The passport of a corpus; column statistics are over all frames.

    Base rates are scores of the constants "train median", "train mean" and "positive" (the top of
    the scale), as in `mmlib.scores.metrics`, but `acc<k>` rounds to the scale's k whole numbers
    without clipping. Scores by sign are given only if the scale has both signs.
    """
    warnings = [n.removeprefix("warning: ") for n in corpus.notes if n.startswith("warning: ")]
    columns = _columns(corpus)
    trouble = columns[["nan", "inf", "at_limit", "constant"]].any(axis=1)
    low, high = corpus.scale.low, corpus.scale.high
    for modality, rows in columns.groupby("modality"):
        if n := int(rows["constant"].sum()):
            warnings.append(f"{modality}: {n} constant columns")
        if n := int(rows["at_limit"].sum()):
            warnings.append(f"{modality}: {n} values clipped at +-{rows['limit'].max():g}")
    return Passport(
        name=corpus.name,
        variant=corpus.variant,
        scale=f"{corpus.scale.name} [{low:g}, {high:g}] {corpus.scale.origin}".strip()
        if corpus.labelled
        else f"none: {len(corpus)} utterances without labels",
        checksums=dict(corpus.checksums),
        frames={
            **(_label_frames(corpus) if corpus.labelled else {}),
            "arrays": _arrays(corpus),
            "columns": columns[trouble].drop(columns="limit").set_index(["modality", "column"]),
        },
        without_features=_without_features(corpus),
        crossing_groups=crossing_groups(corpus),
        duplicate_texts=_duplicate_texts(corpus),
        notes=tuple(n for n in corpus.notes if not n.startswith("warning: ")),
        warnings=tuple(warnings),
    )


def _label_frames(corpus: Corpus) -> dict[str, pd.DataFrame]:
    """Tables that need labels and splits; unlabelled recordings have none of them."""
    rows = [corpus.rows(split) for split in SPLITS]
    index = pd.Index(SPLITS, name="split")
    return {
        "splits": pd.DataFrame([_size(corpus, some) for some in rows], index),
        "classes": pd.DataFrame([_class_counts(corpus, some) for some in rows], index),
        "base_rates": _base_rates(corpus),
    }


def _size(corpus: Corpus, rows: np.ndarray) -> dict[str, float]:
    label = corpus.label[rows].astype(float)
    groups = len({corpus.groups[i] for i in rows})
    return {"n": len(rows), "groups": groups, "mean": label.mean(), "sd": label.std()}


def _class_counts(corpus: Corpus, rows: np.ndarray) -> dict[str, int]:
    """Counts by sign if the scale has both signs, then by class, rounded half to even."""
    label, scale = corpus.label[rows], corpus.scale
    rounded, is_signed = np.round(label).astype(int), scale.low < 0
    signs = {"negative": -1, "zero": 0, "positive": 1} if is_signed else {}
    counts = {name: int((np.sign(label) == value).sum()) for name, value in signs.items()}
    names = {c: f"{c:+d}" if is_signed and c else str(c)
             for c in range(int(scale.low), int(scale.high) + 1)}  # fmt: skip
    return counts | {name: int((rounded == c).sum()) for c, name in names.items()}


def _base_rates(corpus: Corpus) -> pd.DataFrame:
    train = corpus.label[corpus.rows("train")].astype(float)
    constants = {"train median": float(np.median(train)), "train mean": float(train.mean())}
    constants["positive"] = corpus.scale.high
    lines = []
    for split in SPLITS:
        label = corpus.label[corpus.rows(split)].astype(float)
        for name, value in constants.items():
            scores = _constant_scores(value, label, corpus.scale)
            lines.append({"split": split, "constant": name, "value": value, **scores})
    return pd.DataFrame(lines).set_index(["split", "constant"])


def _constant_scores(value: float, label: np.ndarray, scale: Scale) -> dict[str, float]:
    """Scores of a constant prediction; NaN if a score counts no utterance."""
    constant = np.full(len(label), value)
    signs = ("acc2_non0", "f1_non0", "acc2_has0", "f1_has0") if scale.low < 0 else ()
    scores = {name: _score(name, constant, label) for name in ("mae", *signs)}
    classes = int(scale.high - scale.low) + 1  # rounded, as for reviews, and never clipped
    return scores | {f"acc{classes}": _score("acc_fine", np.round(constant), np.round(label))}


def _score(name: str, pred: np.ndarray, truth: np.ndarray) -> float:
    metric = METRICS[name]
    counts = metric.parts(truth, truth)[:, -1].any()
    return float(metric(pred, truth)) if counts else np.nan


def _arrays(corpus: Corpus) -> pd.DataFrame:
    def facts(s: Sequences) -> dict:
        present = s.lengths[s.lengths > 0]
        shortest, median, longest = np.quantile(present, [0, 0.5, 1]) if len(present) else [0] * 3
        kind = {"shape": str(s.values.shape), "dtype": str(s.values.dtype)}
        lengths = {"shortest": int(shortest), "median": float(median), "longest": int(longest)}
        return kind | {"utterances": len(present)} | lengths

    rows = {modality: facts(s) for modality, s in corpus.sequences.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("modality")


def _columns(corpus: Corpus) -> pd.DataFrame:
    """Per column: values that the loader filled, values at the modality's limit, whether constant.

    The limit is the largest magnitude in the modality; it is taken for a clipping bound if at least
    three values equal it.
    """
    frames = []
    for modality, s in corpus.sequences.items():
        filled = np.zeros((2, len(s.columns)), int) if s.filled is None else s.filled
        limit = np.abs(s.values).max(initial=0)
        at_limit = (np.abs(s.values) == limit).sum(axis=0)  # (d,)
        facts = {
            "modality": modality, "column": s.columns, "nan": filled[0], "inf": filled[1],
            "at_limit": at_limit if at_limit.sum() >= 3 else 0, "limit": limit,
            "constant": (s.values == s.values[:1]).all(axis=0),
        }  # fmt: skip
        frames.append(pd.DataFrame(facts))
    names = ["modality", "column", "nan", "inf", "at_limit", "limit", "constant"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)


def _without_features(corpus: Corpus) -> dict[str, list[str]]:
    rows = {m: np.flatnonzero(s.lengths == 0) for m, s in corpus.sequences.items()}
    return {m: [corpus.ids[i] for i in missing] for m, missing in rows.items() if len(missing)}


def _duplicate_texts(corpus: Corpus) -> dict[str, int]:
    """Number of distinct texts, but "", that two splits share, ignoring case and outer spaces."""
    if corpus.text is None:
        return {}
    texts = {s: {corpus.text[i].strip().lower() for i in corpus.rows(s)} - {""} for s in SPLITS}
    pairs = [("train", "valid"), ("train", "test"), ("valid", "test")]
    shared = {f"{a} & {b}": len(texts[a] & texts[b]) for a, b in pairs}
    return {pair: n for pair, n in shared.items() if n}
