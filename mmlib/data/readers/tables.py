"""MOSI, MOSEI, CH-SIMS and MELD as csv."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.data.check import without_crossing
from mmlib.data.columns import COVAREP
from mmlib.data.corpus import SPLITS, Corpus, DataError, Scale, noted, to_sentiment
from mmlib.data.readers.cells import corpus_of, numbers, table
from mmlib.data.readers.frames import pack
from mmlib.files import refuse_unknown, sha256

LEAK = (
    "warning: LEAK, the vision columns v000..v099 come from a network trained with the labels of "
    "bclstm_split train: on the standard split they leak into test, and inside bclstm_split train "
    "they predict labels they have seen; no model can be trained honestly on them"
)
SIMS = ("video_id", "clip_id", "text", "M", "T", "A", "V", "annotation", "mode")
SIMS_PUBLIC = "c7cdb97d9270b8cd975fd01cbf9b79e3526162be73634a50e0c622acdf16ae15"  # 221,618 bytes
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")


def read_mosi(
    path: Path, *, split: str = "standard", modalities: Sequence[str] = ("text", "audio")
) -> Corpus:
    """CMU-MOSI as one csv: text, utterance means of COVAREP (73, length 1) and vision (100).

    `split` is "standard" (train, dev, test by video) or "bclstm" (train and test only; validation
    is cut from train: each sixth of its videos in order of their ids). Rows without label, text
    or split are left out. The vision columns leak and are read only if `modalities` names them.
    """
    groups = {"audio": COVAREP[:73], "vision": tuple(f"v{i:03d}" for i in range(100))}
    refuse_unknown("split", [split], ("standard", "bclstm"), DataError)
    refuse_unknown("modality", modalities, ("text", *groups), DataError)
    asked = {m: list(groups[m]) for m in modalities if m != "text"}
    features = [column for columns in asked.values() for column in columns]
    rows = table(path, ["id", "video_id", "text", "label", f"{split}_split", *features])
    rows = rows.rename(columns={f"{split}_split": "split", "video_id": "group"})
    empty = (rows[["label", "text", "split"]] == "").any(axis=1)
    rows = rows[~empty]
    notes = noted({f"{empty.sum()} rows without label, text or split left out": empty.sum()})
    if split == "bclstm":
        train = rows["split"] == "train"
        cut = rows["group"].isin(sorted(set(rows["group"][train]))[5::6])
        rows = rows.assign(split=rows["split"].mask(train & cut, "valid"))
        notes.append("validation split cut from train: each sixth video in order of ids")
    sequences = {}
    for modality, columns in asked.items():
        values, owner = numbers(path, rows, columns), np.arange(len(rows))
        sequences[modality] = pack(modality, values, owner, len(rows), groups[modality], notes)
    rows = rows.drop(columns=[] if "text" in modalities else "text")
    return corpus_of(
        [path],
        rows.assign(label=numbers(path, rows, ["label"])),
        name="mosi",
        variant=f"{path.name}, {split}_split",
        sequences=sequences,
        notes=(*notes, *([LEAK] if "vision" in asked else [])),
    )


def read_mosi_leak(path: Path) -> Corpus:
    """The split "bclstm" with the vision columns of its training labels: a lesson in leaks."""
    corpus = read_mosi(path, split="bclstm", modalities=("text", "audio", "vision"))
    return replace(corpus, name="mosi-leak")


def read_mosei(path: Path) -> Corpus:
    """CMU-MOSEI's label.csv: text and labels only, no audio or visual features."""
    rows = table(path, ["video_id", "clip_id", "text", "label", "mode"])
    rows = rows.rename(columns={"video_id": "group", "mode": "split"})
    rows["id"] = rows["group"] + "$_$" + rows["clip_id"]
    return corpus_of(
        [path],
        rows.assign(label=numbers(path, rows, ["label"])),
        name="mosei",
        variant=f"{path.name}, text only",
        notes=("text and labels only: the file holds no audio or visual features",),
    )


def read_sims(path: Path) -> Corpus:
    """CH-SIMS's label.csv (`SIMS`, also without the header), text and labels only.

    Labels M in -1..1 become -3..3; so do T, A and V, which people gave to one modality alone: the
    annotations "text", "audio", "vision" (n,). Zeros that a spreadsheet took from clip ids are put
    back. DataError naming the row of a label that is no number in -1..1.
    """
    has_header = SIMS[0] in table(path)
    rows = table(path, header=None if has_header else SIMS)
    rows = rows.rename(columns={"label": "M", **{f"label_{m}": m for m in "TAV"}})
    refuse_unknown("column", SIMS, rows.columns, DataError, path.name)
    values = numbers(path, rows, SIMS[3:7])  # (n, 4)
    if len(bad := np.argwhere(~(abs(values) <= 1))):
        i, j = bad[0]
        raise DataError(
            f"{path.name}: {SIMS[3 + j]} {rows[SIMS[3 + j]].iloc[i]!r} in row {i + 1} is no number "
            f"in -1..1 ({len(bad)} such labels); correct it"
        )
    values, scale = to_sentiment(values, -1, 1)
    clips = rows["clip_id"].str.strip().str.removesuffix(".0").str.zfill(4)
    changed = int((clips != rows["clip_id"]).sum())
    rows = rows.assign(id=rows["video_id"] + "$_$" + clips, label=values[:, 0])
    notes = noted({
        "text and labels only: the file holds no audio or visual features": 1,
        f"{changed} clip ids got the zeros back that a spreadsheet took": changed,
        f"not the public label.csv, whose SHA-256 is {SIMS_PUBLIC}": sha256(path) != SIMS_PUBLIC,
    })  # fmt: skip
    return without_crossing(corpus_of(
        [path], rows.rename(columns={"video_id": "group", "mode": "split"}), name="sims",
        variant=f"{path.name}, text only", scale=scale, notes=tuple(notes),
        annotations=dict(zip(("text", "audio", "vision"), values.T[1:], strict=True)),
    ))  # fmt: skip


def read_meld(path: Path) -> Corpus:
    """MELD's three csv files, text only: Sentiment as -1, 0, 1; the group is the dialogue.

    Files may mix UTF-8 and Windows-1252; curly quotes become straight ones.
    """
    needed = ["Utterance", "Sentiment", "Dialogue_ID", "Utterance_ID"]
    values = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}
    files = [path.with_name(f"{split}_sent_emo.csv") for split in ("train", "dev", "test")]
    parts = [table(f, needed).assign(split=s) for f, s in zip(files, SPLITS, strict=True)]
    for file, part in zip(files, parts, strict=True):
        refuse_unknown("Sentiment", sorted(set(part["Sentiment"])), values, DataError, file.name)
    rows = pd.concat(parts, ignore_index=True)
    rows["group"] = rows["split"] + "_dia" + rows["Dialogue_ID"]
    rows["id"] = rows["group"] + "_utt" + rows["Utterance_ID"]
    rows["text"] = rows["Utterance"].str.translate(_STRAIGHT)
    return corpus_of(
        files,
        rows.assign(label=rows["Sentiment"].map(values)),
        name="meld",
        variant="train, dev and test _sent_emo.csv, text only",
        scale=Scale("sentiment class", -1, 1, origin="negative, neutral, positive as -1, 0, 1"),
        notes=("groups are dialogues; the same speakers occur in all splits",),
    )
