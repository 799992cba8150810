"""Train the models that `mmlib.daf.apply` uses: `python -m mmlib.daf.pretrain`.

They are trained on CMU-MOSI, standard split, with features that a new recording has too: words
without case and punctuation, and utterance means of COVAREP without the columns in which our
implementation differs from the original. MOSI's visual features leak the label, so visual features
come from the embedded corpus: each utterance gets the face of a synthetic one with a similar label.
This shows how faces would be used, not how much real faces help.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from mmlib.daf import features, saved, train, tune
from mmlib.daf.apply import MODELS, matched, means
from mmlib.daf.train import Fit
from mmlib.data import SPLITS, Corpus, DataError, Sequences, load
from mmlib.data.columns import FACET
from mmlib.files import write_whole
from mmlib.scores import results
from mmlib.stack.vectors import Features

COVERAGE = 0.8
SEEDS = range(3)
# New recordings may lack modalities; MOSI's do not. On the validation split, modality dropout of .2
# lowers the MAE of text alone from 1.34 to .91 and raises that of text and audio by .023.
HIDDEN = 0.2
DIFFERENT = ("creak", "HMPDM_24", "HMPDD")  # prefixes of columns that differ from COVAREP's
WITH_FACE = 0.7  # share of the utterances that get a face
NEAREST = 20  # a face is drawn from this many utterances with the closest labels

LIMITS = """English film reviews of YouTube speakers, by utterance, rated by crowd workers. The
voice adds nothing that can be shown on MOSI (README)."""
SPEAKERS = "The speakers and topics of {}, by utterance, rated as its makers had it rated."
LENT = """
**Vision is borrowed from the embedded corpus** (seven of ten utterances got the face of a synthetic
one of about their label). Its weight shows how the model would use a face, not what real faces are
worth; no score with it is given, and the interval is that without it.
"""


def audio_columns(corpus: Corpus) -> tuple[str, ...]:
    """Audio columns that are computed for a new recording as they were for the corpus."""
    return tuple(c for c in corpus.sequences["audio"].columns if not c.startswith(DIFFERENT))


def borrow_faces(corpus: Corpus, seed: int = 0) -> Sequences:
    """Faces of the embedded corpus, drawn from utterances of the same split and a similar label."""
    rng, lender = np.random.default_rng(seed), load("synthetic", seed=seed)
    faces, chosen = means(lender.sequences["vision"]), np.zeros(len(corpus), int)
    for split in SPLITS:
        there = lender.rows(split)[faces.lengths[lender.rows(split)] > 0]
        for i in corpus.rows(split):
            near = np.argsort(np.abs(lender.label[there] - corpus.label[i]), kind="stable")
            chosen[i] = there[rng.choice(near[:NEAREST])]
    lent = rng.random(len(corpus)) < WITH_FACE
    values = faces.take(chosen).values[lent]
    return Sequences(values, lent.astype(int), faces.columns)


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """All subsets of the names, the empty one first."""
    return [part for k in range(len(names) + 1) for part in combinations(names, k)]


def only(data: Features, names: Sequence[str]) -> Features:
    """The same utterances with all modalities but `names` marked missing."""
    kept = data.present & np.isin(data.modalities, names)
    x = {m: data.x[m] * kept[:, i, None] for i, m in enumerate(data.modalities)}
    return replace(data, x=x, present=kept)


def predictions(fit: Fit, data: Features, names: Sequence[str]) -> np.ndarray:
    """Scores with only these modalities, mean over the stack, (n,)."""
    return fit.predict(only(data, names)).score.mean(axis=0)


def halfwidths(fit: Fit, data: Features, names: Sequence[str]) -> dict[str, float]:
    """Subset of modalities -> half-width, the conformal quantile of |error| on "valid"."""
    valid, wanted = data.take(data.rows("valid")), {}
    rank = min(int(np.ceil((len(valid) + 1) * COVERAGE)), len(valid))
    for part in subsets(names):
        error = np.sort(np.abs(predictions(fit, valid, part) - valid.label))
        wanted["+".join(part)] = round(float(error[rank - 1]), 3)
    return wanted


def pretrain(corpus: Corpus, path: Path, lent: Sequences | None = None) -> Path:
    """Train on a corpus, write the model, its JSON and its model card; `lent`: borrowed faces."""
    columns = {"audio": audio_columns(corpus)}
    if "vision" in corpus.sequences:
        columns["vision"] = corpus.sequences["vision"].columns
    given = ["text", *columns]
    if lent is not None:
        corpus = replace(corpus, sequences={**corpus.sequences, "vision": lent})
        columns["vision"] = lent.columns
    data = features.build(matched(corpus, columns))
    settings = tune.settings("mosi", ("text", "audio"), "daf")
    fit = train.fit(data, replace(settings, modality_dropout=HIDDEN), SEEDS)
    half = halfwidths(fit, data, given)
    facts = {"columns": columns, "coverage": COVERAGE, "halfwidth": half}
    facts["borrowed"] = [] if lent is None else ["vision"]
    saved.save(fit, replace(data, origin={**data.origin, **facts}), path)
    write_whole(path.with_suffix(".md"), card(fit, data, given, half, path.stem))
    return path


def card(fit: Fit, data: Features, given: Sequence[str], half: dict, name: str) -> str:
    """The model card: data, split, scores by available modalities, limits."""
    test = data.take(data.rows("test"))
    lines = [_line(test, predictions(fit, test, part), "+".join(part), half["+".join(part)])
             for part in subsets(given)[1:]]  # fmt: skip
    sizes = ", ".join(f"{split} {len(data.rows(split))}" for split in SPLITS)
    files = ", ".join(f"`{f}` ({digest[:12]})" for f, digest in data.origin["checksums"].items())
    return (MODELS / "CARD.md").read_text().format(
        name=name, data=data.name, variant=data.origin["variant"], sizes=sizes, files=files,
        dims=", ".join(f"{m} {d}" for m, d in data.dims.items()), table="\n".join(lines),
        seeds=len(SEEDS), coverage=f"{COVERAGE:.0%}",
        lent=LENT if set(data.modalities) - set(given) else "",
        limits=LIMITS if data.name == "mosi" else SPEAKERS.format(data.name),
    )  # fmt: skip


def _line(test: Features, score: np.ndarray, variant: str, half: float) -> str:
    """A line of the card's table: metrics with intervals, half-width and coverage of scores."""
    rows = results.rows(score, test.label, test.groups, variant=variant, notebook="",
                        dataset=test.name, model="daf", split="test")  # fmt: skip
    cells = {row["metric"]: "{mean:.3f} [{ci_low:.3f}, {ci_high:.3f}]".format(**row)
             for row in rows}  # fmt: skip
    held = np.mean(np.abs(score - test.label) <= half)
    shown = [variant, *(cells[m] for m in ("mae", "corr", "f1_non0"))]
    return f"| {' | '.join(shown)} | ±{half:.2f} | {held:.0%} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.daf.pretrain", description=__doc__)
    parser.add_argument("--dataset", default="mosi", help="mosi, or mosei with your own .csd files")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder of the models")
    given = parser.parse_args(arguments)
    try:
        corpus = load(given.dataset)
        if given.dataset == "mosi":
            pretrain(corpus, given.out / "mosi-ta.safetensors")
            pretrain(corpus, given.out / "mosi-tav.safetensors", borrow_faces(corpus))
        else:
            pretrain(_named(corpus), given.out / f"{given.dataset}.safetensors")
    except ValueError as problem:  # DataError, and what cannot be written
        raise SystemExit(f"mmlib.daf.pretrain: {problem}") from None


def _named(corpus: Corpus) -> Corpus:
    """Name FACET's channels: CMU's files leave the names out; their order is our reading."""
    vision = corpus.sequences.get("vision")
    has_faces = vision is not None and len(vision.columns) == len(FACET)
    if not has_faces or "audio" not in corpus.sequences:
        what = "audio" if has_faces else f"FACET's {len(FACET)} columns"
        raise DataError(f"{corpus.name} lacks {what}; take CMU's .csd files")
    named = Sequences(vision.values, vision.lengths, FACET)
    return replace(corpus, sequences={**corpus.sequences, "vision": named})


if __name__ == "__main__":
    main()
