"""Writing files for other programs: MMSA's pickle of any corpus, and CMU-MOSI as one table.

`write_mmsa` is the inverse of `mmlib.data.readers.mmsa`: {split: {"audio": (n, t, d), ...}} with
the keys that `data_loader.py` of MMSA 2.2.1 reads, as plain arrays, lists and strings.
`write_mosi` makes `mosi.csv.gz` from CMU's own files.
"""

import gzip
import pickle
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.data.columns import COVAREP
from mmlib.data.corpus import SPLITS, Corpus, DataError, rows_of, to_sentiment
from mmlib.files import write_whole

ANNOTATIONS = ("Negative", "Neutral", "Positive")


def write_mmsa(path: Path | str, corpus: Corpus, text: Sequence[np.ndarray] | None = None) -> Path:
    """Write a corpus as MMSA's pickle of train, valid and test; `read_mmsa` reads it back.

    text: token states (t, d) or one vector (d,) per utterance; default: those of the corpus.
    Without either, the file has no key "text", and MMSA's models cannot run on it.

    Padding follows the frames, up to the longest utterance of the corpus. MMSA packs sequences and
    cannot pack a length of 0. So an utterance without a modality gets one frame of zeros and length
    1; a modality that the corpus lacks gets the same in every utterance, with one column.
    `read_mmsa` drops frames of zeros again; `modalities=` skips a modality of zeros. Labels are
    mapped from the corpus' scale to -3..3. There is no "text_bert", so models that train BERT do
    not run. DataError, one line, without labels, with an empty split, for ids that MMSA's format
    cannot hold, and for a text of another size.
    """
    if not corpus.labelled:
        raise DataError(f"{corpus.name} has no labels, and MMSA learns from them: add them first")
    ids, rows = np.array(mmsa_ids(corpus)), rows_of(corpus, SPLITS)
    frames = {m: _padded(corpus, m) for m in ("audio", "vision")}
    if text is not None or "text" in corpus.sequences:
        frames["text"] = _padded(corpus, "text", text)
    content = {}
    label = to_sentiment(corpus.label, corpus.scale.low, corpus.scale.high)[0]
    for split, at in zip(SPLITS, rows, strict=True):
        sign = np.sign(label[at]).astype(int) + 1  # 0 negative, 1 neutral, 2 positive
        content[split] = {
            "id": ids[at].tolist(),
            "raw_text": ["" if corpus.text is None else corpus.text[i] for i in at],
            "regression_labels": label[at],
            "classification_labels": sign,
            "annotations": [ANNOTATIONS[k] for k in sign],
            **{m: values[at] for m, (values, _) in frames.items()},
            **{f"{m}_lengths": lengths[at].tolist() for m, (_, lengths) in frames.items()},
        }
    write_whole(Path(path), pickle.dumps(content, 4))  # protocol 4: MMSA uses Python 3.8
    return Path(path)


def mmsa_ids(corpus: Corpus) -> tuple[str, ...]:
    """Each utterance's id as `video$_$clip`: its own if in that form, else group and rest of it.

    DataError if a group's name contains MMSA's separators, or if two utterances get the same id.
    """
    if bad := next((g for g in corpus.groups if not g or re.search(r"\$_\$|\[", g)), None):
        raise DataError(f"group {bad!r}: MMSA reads '$_$' and '[' as the end of it; rename it")
    ids = tuple(map(_mmsa_id, corpus.ids, corpus.groups))
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise DataError(f"two utterances have the id {twice!r} in MMSA's form; rename one of them")
    return ids


def _mmsa_id(name: str, group: str) -> str:
    is_theirs = name.startswith(f"{group}$_$")
    return name if is_theirs else f"{group}$_${name.removeprefix(f'{group}_')}"


def write_mosi(path: Path | str, corpus: Corpus) -> Path:
    """Write CMU-MOSI as `mosi.csv.gz`: words, labels, the standard split, means of COVAREP.

    A mean is over all frames of an utterance in the corpus; without frames it is 0, which
    `read_mosi` reads as missing audio. COVAREP's last column, HMPDD_12, is not in this layout, nor
    are visual features or a second split. `clip` is numbered as in the corpus; CMU's .csd start at
    0. DataError, one line, without labels, words or the first 73 of COVAREP's columns (MMSA's
    pickles have only five).
    """
    audio, columns = corpus.sequences.get("audio"), COVAREP[:73]
    if audio is None or not {*columns} <= {*audio.columns}:
        have = f"{len(audio.columns)} columns" if audio else "none"
        raise DataError(f"{corpus.variant}: the layout needs COVAREP's 74 columns of audio, and "
                        f"there are {have}; read CMU's .csd files")  # fmt: skip
    if corpus.text is None or not corpus.labelled:
        raise DataError(f"{corpus.variant}: the layout needs words and labels; read CMU's files")
    frames, off, none = audio.only(columns), audio.offsets, np.zeros(len(columns))
    means = [frames.values[a:b].mean(axis=0) if a < b else none for a, b in pairwise(off)]
    rests = map(str.removeprefix, corpus.ids, corpus.groups)  # "[3]", "$_$3" or "_3"
    clips = [re.sub(r"^[\W_]+|[\W_]+$", "", rest) for rest in rests]
    head = {
        "id": [f"{video}_{clip}" for video, clip in zip(corpus.groups, clips, strict=True)],
        **{"video_id": corpus.groups, "clip": clips, "text": corpus.text, "label": corpus.label},
        "standard_split": np.where(corpus.split == "valid", "dev", corpus.split),
    }
    rows = pd.DataFrame(head).join(pd.DataFrame(means, columns=list(columns)))
    write_whole(Path(path), gzip.compress(rows.to_csv(index=False).encode(), mtime=0))
    return Path(path)


def _padded(
    corpus: Corpus, modality: str, given: Sequence[np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, t, d) float32 and lengths (n,), both with at least one frame per utterance."""
    n = len(corpus)
    if given is None:
        sequences = corpus.sequences.get(modality)
        off = sequences.offsets if sequences else np.zeros(n + 1, int)
        values = sequences.values if sequences else np.zeros((0, 1), np.float32)
        given = [values[a:b] for a, b in pairwise(off)]
    frames = [np.atleast_2d(np.asarray(row, np.float32)) for row in given]
    if len(frames) != n or len({row.shape[1:] for row in frames}) != 1 or frames[0].ndim != 2:
        raise DataError(f"{modality} has {len(frames)} entries for {n} utterances, or of several "
                        "widths; give one array (t, d) an utterance")  # fmt: skip
    lengths = np.array([max(len(row), 1) for row in frames])
    padded = np.zeros((n, lengths.max(), frames[0].shape[1]), np.float32)
    for i, row in enumerate(frames):
        padded[i, : len(row)] = row
    return padded, lengths
