"""Readers of plain tables and arrays: MOSI, MOSEI and MELD as csv, MMMO as npz."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.data.columns import COVAREP, names
from mmlib.data.corpus import SPLITS, Corpus, DataError, Scale
from mmlib.data.readers.cells import numbers, table
from mmlib.data.readers.frames import pack, pack_padded
from mmlib.files import sha256

LEAK = (
    "warning: LEAK, the vision columns v000..v099 come from a network trained with the labels of "
    "bclstm_split train: on the standard split they leak into test, and inside bclstm_split train "
    "they predict labels they have seen; no model can be trained honestly on them"
)
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
    _one_of("split", (split,), ("standard", "bclstm"))
    _one_of("modality", modalities, ("text", *groups))
    asked = [m for m in modalities if m != "text"]
    features = [c for m in asked for c in groups[m]]
    rows = table(path, ["id", "video_id", "text", "label", f"{split}_split", *features])
    rows = rows.rename(columns={f"{split}_split": "split"})
    empty = (rows[["label", "text", "split"]] == "").any(axis=1)
    rows, dropped = rows[~empty], rows["id"][empty]
    notes = [f"{len(dropped)} rows without label, text or split left out"] if len(dropped) else []
    if split == "bclstm":
        rows = rows.assign(split=_cut_validation(rows))
        notes.append("validation split cut from train: each sixth video in order of ids")
    sequences = {}
    for modality in asked:
        values = numbers(path, rows, list(groups[modality]))
        owner = np.arange(len(rows))
        sequences[modality], found = pack(modality, values, owner, len(rows), groups[modality])
        notes += found
    return Corpus(
        name="mosi",
        variant=f"{path.name}, {split}_split",
        ids=tuple(rows["id"]),
        groups=tuple(rows["video_id"]),
        split=rows["split"].replace("dev", "valid"),
        label=numbers(path, rows, ["label"])[:, 0],
        text=tuple(rows["text"]) if "text" in modalities else None,
        sequences=sequences,
        notes=(*notes, *([LEAK] if "vision" in asked else [])),
        checksums={path.name: sha256(path)},
    )


def read_mosei(path: Path) -> Corpus:
    """CMU-MOSEI's label.csv: text and labels only, no audio or visual features."""
    rows = table(path, ["video_id", "clip_id", "text", "label", "mode"])
    return Corpus(
        name="mosei",
        variant=f"{path.name}, text only",
        ids=tuple(rows["video_id"] + "$_$" + rows["clip_id"]),
        groups=tuple(rows["video_id"]),
        split=rows["mode"].replace("dev", "valid"),
        label=numbers(path, rows, ["label"])[:, 0],
        text=tuple(rows["text"]),
        notes=("text and labels only: the file holds no audio or visual features",),
        checksums={path.name: sha256(path)},
    )


def read_mmmo(path: Path) -> Corpus:
    """ICT-MMMO as train.npz, valid.npz, test.npz: audio (n, 20, 74), vision (n, 20, 36), label.

    The files name no video, so each row is its own group and its id is made of split and number.
    Labels 1..5 enter as 1.5 (y - 3).
    """
    files = [path.with_name(f"{split}.npz") for split in SPLITS]
    parts = [_npz(file, {"audio": 74, "vision": 36}) for file in files]
    sizes = [len(part["label"]) for part in parts]
    ids = tuple(f"{s}-{i:03d}" for s, n in zip(SPLITS, sizes, strict=True) for i in range(n))
    sequences, notes = {}, ["the files hold no text and no ids; each row counts as one video"]
    for modality in ("audio", "vision"):
        arrays = [part[modality] for part in parts]  # (n, t, d) each
        columns = names(modality, arrays[0].shape[2])
        sequences[modality], found = pack_padded(modality, arrays, columns)
        notes += found
    return Corpus(
        name="mmmo",
        variant="train.npz, valid.npz, test.npz",
        ids=ids,
        groups=ids,
        split=np.repeat(SPLITS, sizes),
        label=1.5 * (np.concatenate([part["label"] for part in parts]) - 3),
        sequences=sequences,
        scale=Scale("sentiment", -3, 3, origin="1.5 (y - 3) of y in 1..5"),
        notes=tuple(notes),
        checksums={file.name: sha256(file) for file in files},
    )


def read_meld(path: Path) -> Corpus:
    """MELD's three csv files, text only: Sentiment as -1, 0, 1; the group is the dialogue.

    Files may mix UTF-8 and Windows-1252; curly quotes become straight ones.
    """
    needed = ["Utterance", "Sentiment", "Dialogue_ID", "Utterance_ID"]
    values = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}
    files = [path.with_name(f"{split}_sent_emo.csv") for split in ("train", "dev", "test")]
    parts = [table(f, needed).assign(split=s) for f, s in zip(files, SPLITS, strict=True)]
    rows = pd.concat(parts, ignore_index=True)
    unknown = sorted(set(rows["Sentiment"]) - set(values))
    if unknown:
        raise DataError(f"MELD: unknown Sentiment {unknown[0]!r}; expected {', '.join(values)}")
    dialogue = rows["split"] + "_dia" + rows["Dialogue_ID"]
    return Corpus(
        name="meld",
        variant="train, dev and test _sent_emo.csv, text only",
        ids=tuple(dialogue + "_utt" + rows["Utterance_ID"]),
        groups=tuple(dialogue),
        split=rows["split"],
        label=rows["Sentiment"].map(values),
        text=tuple(rows["Utterance"].str.translate(_STRAIGHT)),
        scale=Scale("sentiment class", -1, 1, origin="negative, neutral, positive as -1, 0, 1"),
        notes=("groups are dialogues; the same speakers occur in all splits",),
        checksums={file.name: sha256(file) for file in files},
    )


def _cut_validation(rows: pd.DataFrame) -> pd.Series:
    train = rows["split"] == "train"
    videos = sorted(set(rows["video_id"][train]))[5::6]
    return rows["split"].mask(train & rows["video_id"].isin(videos), "valid")


def _one_of(what: str, asked: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in asked if name not in known]:
        raise DataError(f"unknown {what} {unknown[0]!r}; choose from {', '.join(known)}")


def _npz(path: Path, widths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The label (n,) and the arrays (n, t, d), each of its declared width."""
    if not path.exists():
        raise DataError(f"missing file {path}; put it beside the others")
    try:
        with np.load(path, allow_pickle=False) as file:
            part = {name: file[name] for name in ("label", *widths)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name}: not a readable npz ({error}); fetch it again") from None
    except KeyError as error:
        raise DataError(f"{path.name}: {error.args[0]}; expected label, audio and vision") from None
    for name, width in widths.items():
        if part[name].ndim != 3 or part[name].shape[::2] != (len(part["label"]), width):
            raise DataError(
                f"{path.name}: {name} has shape {part[name].shape}; "
                f"expected ({len(part['label'])}, frames, {width})"
            )
    return part
