"""IEMOCAP's original release: dialogues with evaluations and transcripts."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mmlib.data.corpus import Corpus, DataError, noted, to_sentiment
from mmlib.data.readers.border import readable
from mmlib.data.readers.cells import corpus_of
from mmlib.data.readers.encodings import decoded
from mmlib.files import refuse_unknown, sha256

SPLIT_OF = {1: "train", 2: "train", 3: "train", 4: "valid", 5: "test"}  # session -> split
# The index in this list is the code in the annotation "emotion"; xxx: no majority of the raters.
EMOTION_WORDS = ("neu", "hap", "sad", "ang", "exc", "fru", "sur", "fea", "dis", "oth", "xxx")
ANNOTATIONS = ("activation", "dominance", "emotion")
LOW, HIGH = 1, 5  # of valence, activation and dominance
SPLIT_NOTE = "split by sessions (1-3 train, 4 valid, 5 test): our reading; no speaker is in two"

_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"
_EVALUATED = re.compile(
    rf"\[[^]]*\]\s+(\w+)\s+(\w+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]"
)  # [start - end] turn emotion [V, A, D]
_SPOKEN = re.compile(r"(\w+) +\[[^]]*\] *: *(\S.*)")  # turn [start-end]: words


def read_iemocap(path: Path) -> Corpus:
    """IEMOCAP's turns from the folder of `path` with Session1 to Session5: text and labels only.

    Valence 1..5 becomes -3..3; values up to .5 outside are clipped, with a note. Annotations (n,):
    "activation" and "dominance", .5..5.5 (not clipped), and "emotion", the index of the word in
    EMOTION_WORDS. A group is a dialogue. The release has no split: sessions 1-3 train, 4 valid, 5
    test is our reading; no speaker is in two sessions.
    Reads `SessionN/dialog/EmoEvaluation/*.txt` and the files of the same names in
    `dialog/transcriptions`. DataError with file and line for a damaged turn or one without words.
    """
    root = path.parent if path.name == "Session1" else path
    files = [file for session in SPLIT_OF for file in _evaluations(root, session)]
    turns = [turn for file in files for turn in _turns(file)]
    if not turns:
        raise DataError(f"{root.name}: no turn in {len(files)} evaluations; fetch it again")
    rows = pd.DataFrame(turns)
    valence = rows["valence"].clip(LOW, HIGH)
    label, scale = to_sentiment(valence.to_numpy(), LOW, HIGH, "valence")
    beyond = int((valence != rows["valence"]).sum())
    cut = noted({f"{beyond} valences half a step beyond {LOW}..{HIGH} set to its ends": beyond})
    notes = ("text and labels only: no sound, no faces, no motion capture", SPLIT_NOTE, *cut)
    corpus = corpus_of(
        [], rows.assign(label=label), name="iemocap", variant=f"{len(files)} dialogues, text only",
        scale=scale, annotations={name: rows[name].to_numpy() for name in ANNOTATIONS}, notes=notes,
    )  # fmt: skip
    read = [file for evaluation in files for file in (evaluation, _transcript(evaluation))]
    digests = "".join(f"{file.relative_to(root)} {sha256(file)}\n" for file in read)
    checksum = hashlib.sha256(digests.encode()).hexdigest()
    return replace(corpus, checksums={f"names and SHA-256 of {len(read)} files": checksum})


def _evaluations(root: Path, session: int) -> list[Path]:
    folder = root / f"Session{session}" / "dialog" / "EmoEvaluation"
    if not (files := sorted(folder.glob("Ses*.txt"))):  # copies made on a Mac also have ._Ses...
        raise DataError(f"no Ses*.txt in {folder}; put all five sessions of the release there")
    return files


def _transcript(evaluation: Path) -> Path:
    return evaluation.parents[1] / "transcriptions" / evaluation.name


def _turns(evaluation: Path) -> Iterator[dict[str, object]]:
    """Each evaluated turn of a dialogue: id, words, valence and the annotations."""
    words = _words(_transcript(evaluation))
    for place, line in _lines(evaluation):
        if not line.startswith("["):
            continue  # a heading, or the rating of one person
        if not (found := _EVALUATED.fullmatch(line)):
            raise DataError(f"{place}: expected [start - end], turn, emotion, [V, A, D]; mend it")
        name, emotion, *values = found.groups()
        valence, activation, dominance = (float(value) for value in values)
        refuse_unknown("emotion", [emotion], EMOTION_WORDS, DataError, place)
        if not all(LOW - 0.5 <= value <= HIGH + 0.5 for value in (valence, activation, dominance)):
            raise DataError(f"{place}: {name} is not within {LOW}..{HIGH}; correct it")
        if name not in words:
            raise DataError(f"{place}: {name} has no words in transcriptions/; fetch these again")
        yield {
            "id": name, "group": evaluation.stem, "text": words[name], "valence": valence,
            "split": SPLIT_OF[int(evaluation.parents[2].name[-1])], "activation": activation,
            "dominance": dominance, "emotion": EMOTION_WORDS.index(emotion),
        }  # fmt: skip


def _words(transcript: Path) -> dict[str, str]:
    """Turn -> words; other lines, without the name of a turn, are not evaluated."""
    words = {}
    for place, line in _lines(transcript):
        if line.startswith("Ses"):
            if not (found := _SPOKEN.fullmatch(line)):
                raise DataError(f"{place}: expected turn [start-end]: words; correct it")
            words[found[1]] = found[2]
    return words


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """(`file, line n`, text) of each line; bytes that are not UTF-8 are read as Western."""
    with readable(path):
        raw = path.read_bytes()
    for number, line in enumerate(decoded(path, raw)[0].splitlines(), 1):
        yield f"{path.parent.name}/{path.name}, line {number}", line.strip()
