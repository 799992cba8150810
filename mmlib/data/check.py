"""Checks that every corpus has to pass, whatever file it was read from."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np

from mmlib.data.corpus import SPLITS, Corpus, DataError, check_finite

# Formula errors of spreadsheets in several languages, and numbers in scientific notation
_FORMULA = re.compile(r"^#¡?[^\W\d_]{2,9}(/0)?[!?](?=$|[$_[])|^#N/?[AV]\b|\b\d([.,]\d+)?E\+\d\d")


def check(corpus: Corpus) -> Corpus:
    """Return the corpus if it passes all checks; otherwise a DataError names the first fault."""
    try:
        for rule in (_sizes, _ids, _labels, _splits, _groups, _text, _sequences, _others):
            if corpus.labelled or rule not in (_labels, _splits):
                rule(corpus)
    except DataError as error:
        raise DataError(f"{corpus.name} ({corpus.variant}): {error}") from None
    return corpus


def _sizes(corpus: Corpus) -> None:
    if not (n := len(corpus.ids)):
        raise DataError("no utterance; add some")
    text = corpus.ids if corpus.text is None else corpus.text
    parts = {"groups": corpus.groups, "split": corpus.split, "label": corpus.label, "text": text}
    known = {**parts, **corpus.sequences, **corpus.truth, **corpus.annotations}
    for name, part in known.items():
        if len(part) != n:
            raise DataError(f"{n} ids, but {name} has {len(part)} entries")
    if not corpus.modalities:
        raise DataError("no modality: neither text nor any feature sequence")


def _ids(corpus: Corpus) -> None:
    if name := next(filter(_FORMULA.search, corpus.ids), None):
        raise DataError(
            f"id {name!r} was changed by a spreadsheet, which takes - or = for a formula; use the "
            "file as it was fetched"
        )
    name, count = Counter(corpus.ids).most_common(1)[0] if corpus.ids else ("", 0)
    if count > 1:
        raise DataError(f"id {name!r} occurs {count} times; give each row another")


def _labels(corpus: Corpus) -> None:
    scale = corpus.scale
    on_scale = (corpus.label >= scale.low - 1e-4) & (corpus.label <= scale.high + 1e-4)
    bad = np.flatnonzero(~on_scale)
    if len(bad):
        raise DataError(
            f"label {corpus.label[bad[0]]:g} of {corpus.ids[bad[0]]!r} is not in "
            f"[{scale.low:g}, {scale.high:g}] {scale.origin} ({len(bad)} such labels); correct it"
        )


def _splits(corpus: Corpus) -> None:
    unknown = sorted(set(corpus.split.tolist()) - set(SPLITS))
    if unknown:
        raise DataError(f"unknown split {unknown[0]!r}; splits are {', '.join(SPLITS)}")
    for split in SPLITS:
        if (size := len(corpus.rows(split))) < 2:
            said = f"split {split} has {size} utterance(s) and needs 2 or more"
            raise DataError(f"{said}; correct the splits, or add some")


def _groups(corpus: Corpus) -> None:
    if crossing := crossing_groups(corpus):
        group, splits = next(iter(crossing.items()))
        raise DataError(
            f"group {group!r} is in {' and '.join(splits)} ({len(crossing)} such groups); "
            "split whole videos or speakers"
        )


def crossing_groups(corpus: Corpus) -> dict[str, tuple[str, ...]]:
    """Groups with utterances in more than one split, and those splits."""
    seen: dict[str, set[str]] = {}
    for group, split in zip(corpus.groups, corpus.split, strict=True):
        seen.setdefault(group, set()).add(str(split))
    return {g: tuple(s for s in SPLITS if s in at) for g, at in seen.items() if len(at) > 1}


def without_crossing(corpus: Corpus) -> Corpus:
    """Make each utterance its own group, with a warning, if the published split divides groups.

    This concerns CH-SIMS, whose splits were drawn from all clips.
    """
    if not (crossing := crossing_groups(corpus)):
        return corpus
    warning = (
        f"warning: the file's split cuts through {len(crossing)} of {len(set(corpus.groups))} "
        "videos, so scores count speakers that were trained on; each utterance is its own group"
    )
    return replace(corpus, groups=corpus.ids, notes=(*corpus.notes, warning))


def _text(corpus: Corpus) -> None:
    """A masked missing text is ""; such an utterance must have frames. Blank texts are refused."""
    for name, text in zip(corpus.ids, corpus.text or (), strict=False):
        if not text.strip() and (text or not corpus.sequences):
            raise DataError(f"empty text of {name!r}; drop the row or fill it in")


def _sequences(corpus: Corpus) -> None:
    frames = np.array([bool(text) for text in corpus.text or [""] * len(corpus)], dtype=int)
    for modality, sequences in corpus.sequences.items():
        check_finite(modality, sequences.values, corpus.ids, sequences.lengths)
        if not sequences.lengths.any():
            raise DataError(f"{modality} has no frame in any utterance; drop the modality")
        frames = frames + sequences.lengths
    if (frames == 0).any():
        name = corpus.ids[int(np.argmin(frames))]
        raise DataError(f"zero-length sequence: {name!r} has no frame in any modality; drop it")


def _others(corpus: Corpus) -> None:
    for name, values in corpus.annotations.items():
        if values.dtype.kind == "f":
            check_finite(name, values, corpus.ids)
