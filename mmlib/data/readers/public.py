"""Public tables of texts in other languages and domains: their columns, groups and labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from mmlib.data.corpus import Corpus, DataError, noted
from mmlib.data.readers.cells import table
from mmlib.data.readers.texts import corpus_of_texts
from mmlib.files import refuse_unknown

LONG = 5  # words; a sentence this long in two scenes is no coincidence
_LATIN = "A-Za-z\u00c0-\u024f"
SCRIPT_OF = {  # language -> letters of its script
    **dict.fromkeys(("de", "en", "es", "fr", "it", "nl", "no", "pt", "sv", "tr", "vi"), _LATIN),
    "ar": "\u0600-\u06ff", "el": "\u0370-\u03ff", "he": "\u0590-\u05ff", "ko": "\uac00-\ud7af",
    "ru": "\u0400-\u04ff", "th": "\u0e00-\u0e7f", "zh": "\u4e00-\u9fff",
    "hi": _LATIN + "\u0900-\u097f",
}  # fmt: skip
ENGLISH = r"(?i)\b(?:the|and|this|with|very|great|good|food|nice|delicious|friendly)\b"
MANY = 0.05  # of a text's words: 430 of the 435 texts filed as English have more of ENGLISH
SHARE = 0.5  # of the texts need a letter of the script; in the public files .994 or more have one


def written_in(path: Path, texts: pd.Series, language: str) -> None:
    """DataError, one line, if most texts have no letter of their language's script."""
    is_written = texts.str.contains(f"[{SCRIPT_OF[language]}]")
    if is_written.mean() < SHARE:
        row = texts.index[~is_written][0] + 1
        raise DataError(
            f"{path.name}: {(~is_written).sum()} of {len(texts)} texts have no letter of language "
            f"{language!r}, the first in row {row}; put the file of that language there, or load "
            "this one by its path"
        )


def read_zh(path: Path, *, seed: int = 0) -> Corpus:
    """Chinese reviews (`label` 0 or 1, `review`) of ChineseNlpCorpus; each is its own group."""
    rows = table(path, ["label", "review"])
    written_in(path, rows["review"], "zh")
    columns = {"text": "review", "label": "label"}
    labels = {"name": path.parent.name, "label_range": (0, 1), "kind": "two classes"}
    return corpus_of_texts(path, rows, columns, seed=seed, **labels)


def read_ar(path: Path, *, seed: int = 0) -> Corpus:
    """Arabic restaurant reviews (`polarity` -1 or 1); a group is a restaurant."""
    rows = table(path, ["polarity", "text", "restaurant_id"])
    written_in(path, rows["text"], "ar")
    columns = {"text": "text", "label": "polarity", "group": "restaurant_id"}
    labels = {"name": path.parent.name, "unit": "restaurants", "label_range": (-1, 1)}
    return corpus_of_texts(path, rows, columns, seed=seed, kind="two classes", **labels)


def read_19lang(path: Path, *, language: str | None = None, seed: int = 0) -> Corpus:
    """Restaurant reviews with 1 to 5 stars in one `language` (e.g. "de"), or in all if None.

    A group is a place. A single language is split by its own places; the same place may be in
    another split of another language. For transfer between languages, read all and select rows by
    the annotation "language" (n,): then each place is in one split. English texts under another
    language are left out, and a language that has hardly any others; a note counts them. DataError
    for other languages.
    """
    rows = table(path, ["lang", "stars", "group", "text"])
    columns = {"text": "text", "label": "stars", "group": "group", "language": "lang"}
    refuse_unknown("language", rows["lang"].unique(), SCRIPT_OF, DataError, path.name)
    is_wrong = rows["text"].str.count(ENGLISH) > MANY * rows["text"].str.count(r"[^\W\d_]+")
    is_wrong &= rows["lang"] != "en"
    is_wrong |= is_wrong.groupby(rows["lang"]).transform("mean") > 1 - MANY
    rows, wrong = rows[~is_wrong], rows["lang"][is_wrong].value_counts().to_dict()
    counts = rows["lang"].value_counts().sort_index()
    for code, own in rows.groupby("lang"):
        written_in(path, own["text"], code)
    if language is not None:
        refuse_unknown("language", [language], counts.index, DataError, path.name)
        rows = rows[rows["lang"] == language]
    note = f"{len(rows)} of {counts.sum()} rows: {', '.join(f'{k} {n}' for k, n in counts.items())}"
    named = ", ".join(f"{code} {n}" for code, n in wrong.items())
    notes = [note, *noted({f"English under other languages, left out: {named}": len(wrong)})]
    labels = {"name": path.parent.name, "unit": "places", "label_range": (1, 5), "notes": notes}
    return corpus_of_texts(path, rows, columns, seed=seed, **labels)


def read_mustardpp(path: Path, *, seed: int = 0) -> Corpus:
    """MUStARD++'s target utterances: the label is `Valence` 1..9; each scene has one.

    Annotations: "sarcasm" (0 or 1) and "arousal" (1..9). A scene has one target and context rows,
    which are not read. The context of a scene may contain the target of another. So a group
    has all scenes of an episode and scenes that share a sentence of LONG words: neither targets nor
    contexts are in two splits. Grouping by show is too coarse: one of five has .6 of the targets.
    """
    rows = table(path, ["SCENE", "KEY", "SENTENCE", "Sarcasm", "Valence", "Arousal"])
    rows["group"] = _linked(rows["SCENE"], rows["SENTENCE"])
    is_context = rows["KEY"].str.contains(r"_c(?:_\d+)?$")
    columns = {"text": "SENTENCE", "label": "Valence", "group": "group", "id": "SCENE"}
    return corpus_of_texts(
        path, rows[~is_context], {**columns, "sarcasm": "Sarcasm", "arousal": "Arousal"},
        name=path.parent.name, kind="valence", unit="linked scenes", seed=seed, label_range=(1, 9),
        notes=noted({f"{is_context.sum()} rows of context left out": is_context.sum()}),
    )  # fmt: skip


def _linked(scenes: pd.Series, sentences: pd.Series) -> np.ndarray:
    """Name of each row's group (n,): scenes of one episode, or linked by shared long sentences."""
    words = sentences.str.lower().str.findall(r"\w+")
    shared = words.str.join(" ").where(words.str.len() >= LONG, scenes)
    episodes = scenes.str.extract(r"^(\d+_S\d+E\d+)_")[0].fillna(scenes)
    scene, link = pd.factorize(scenes)[0], pd.factorize(pd.concat([shared, episodes]))[0]
    n, m = scene.max(initial=-1) + 1, link.max(initial=-1) + 1
    pairs = (np.tile(scene, 2), n + link)
    graph = scipy.sparse.coo_array((np.ones(len(link)), pairs), shape=(n + m, n + m))
    _, part = scipy.sparse.csgraph.connected_components(graph)
    return np.char.add("scenes ", part[scene].astype(str))
