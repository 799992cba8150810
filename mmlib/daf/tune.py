"""Tune every model with the same budget, without the test split; all trials are stored.

Every model tries the same candidates, drawn at random from `RANGES`. Each candidate is
cross-validated over the videos of train + valid with several seeds, because CMU-MOSI's validation
split has only 10 videos, too few to compare candidates. `python -m mmlib.daf.tune --dataset mosi
--modalities text audio` writes `papermill_runs/settings.json`, which the notebooks read.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import loguniform, uniform

from mmlib.daf import features, train
from mmlib.daf.features import CONSTANT, variant
from mmlib.daf.fusion import RULES
from mmlib.daf.train import Settings
from mmlib.data import DataError, load
from mmlib.data.load import columns
from mmlib.files import refuse_unknown
from mmlib.stack import choices
from mmlib.stack.vectors import Features

BUDGET, FOLDS, SEEDS = 20, 3, range(3)  # candidates per model, each trained folds x seeds times
RANGES = {
    "lr": loguniform(2e-4, 4e-3),
    "fusion_lr": [1.0, 3.0, 10.0],  # without effect if the rule has no fusion parameters
    "weight_decay": loguniform(1e-3, 1e-1),
    "feature_dropout": uniform(0.2, 0.5),  # .2 to .7
    "dropout": uniform(0.1, 0.6),  # .1 to .7
    "modality_dropout": [0.0, 0.2],  # without effect on one modality
}
MINILM = "minilm"  # the default text encoder


def models(modalities: Sequence[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every model of a comparison: name -> (fusion rule, modalities that it sees).

    Each single modality has three models: `text` has one layer; `text_deep` has a second layer (the
    rule "concat" on one modality); `text_gated` has DAF's scorer and a second modality that is 1
    for every utterance (`mmlib.daf.features.with_constant`). They separate a gain by more
    modalities from a gain by depth. DataError if a modality has the name of a rule.
    """
    found: dict[str, tuple[str, tuple[str, ...]]] = {m: ("mean", (m,)) for m in modalities}
    found |= {f"{m}_deep": ("concat", (m,)) for m in modalities}
    found |= {f"{m}_gated": ("daf", (m, CONSTANT)) for m in modalities}
    if both := [name for name in found if name in RULES]:
        raise DataError(f"{both[0]!r} is a modality's model and a fusion rule; rename one of them")
    if len(modalities) > 1:
        found |= {rule: (rule, tuple(modalities)) for rule in RULES}
    return found


def candidates(rule: str) -> list[Settings]:
    """The candidate settings of a rule; the drawn values are the same for all rules."""
    return [Settings(rule, **values) for values in choices.draw(RANGES, BUDGET)]


def tune(data: Features, rule: str) -> dict:
    """The chosen settings of one rule and the cross-validated error of every candidate."""
    drawn = candidates(rule)
    return choices.entry(drawn, train.select(data, drawn, FOLDS, SEEDS)[1], tuple(RANGES))


def settings(
    dataset: str, modalities: Sequence[str], rule: str, encoder: str | Path = MINILM
) -> Settings:
    """The stored settings of a rule on a data set and a text encoder.

    Those of MiniLM if the encoder was not tuned for; the default `Settings(rule)` if nothing is
    stored. In both cases a printed line names the tuning command. ValueError for an unknown rule.
    """
    refuse_unknown("fusion rule", [rule], RULES)
    for key in (own := place(dataset, encoder), dataset):
        if entry := choices.stored(key).get(variant(modalities), {}).get(rule):
            if key != own:
                _missing(dataset, modalities, rule, encoder, "the choice for minilm is used")
            return Settings(**entry["settings"])
    _missing(dataset, modalities, rule, encoder, "the defaults are used")
    return Settings(rule)


def _missing(dataset, modalities: Sequence[str], rule: str, encoder: str | Path, used: str) -> None:
    seen = [m for m in modalities if m != CONSTANT]
    where = dataset + f" --encoder {encoder}" * (encoder != MINILM)
    command = f"python -m mmlib.daf.tune --dataset {where} --modalities {' '.join(seen)}"
    if is_own := rule in RULES.added:  # a registered rule exists in this process only
        command = f"entry = tune.tune(data, {rule!r}); train.Settings(**entry['settings'])"
    what = f"rule {rule!r}" if is_own else "+".join(seen)
    choices.missing(place(dataset, encoder), what, used, command)


def place(dataset: str, encoder: str | Path) -> str:
    """Key of a data set's stored settings: its name, with the encoder if that is not MiniLM."""
    return choices.place(dataset, encoder, default=[MINILM])


def table(dataset: str, encoder: str | Path = MINILM) -> list[dict]:
    """One row per tuned rule, with the columns of `mmlib.stack.choices.table`."""
    return choices.table(place(dataset, encoder), tuple(RANGES))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.daf.tune", description=__doc__)
    parser.add_argument("--dataset", required=True)
    for role in ("text", "label", "group"):
        parser.add_argument(f"--{role}", default="", help="its column in a table of one's own")
    parser.add_argument("--classes", default="", help="words of its labels: 'bad, fair, good'")
    parser.add_argument("--modalities", nargs="+", help="default: all that the data set has")
    parser.add_argument("--utterances", type=int, help="only the first so many, noted in the file")
    parser.add_argument("--encoder", default=MINILM, help="of the text: minilm, mpnet, a folder")
    parser.add_argument("--models", nargs="+", help="default: every one of `models`")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        _tune_all(given)
    except ValueError as problem:
        raise SystemExit(f"mmlib.daf.tune: {problem}") from None


def _tune_all(given: argparse.Namespace) -> None:
    asked = columns(text=given.text, label=given.label, group=given.group, classes=given.classes)
    corpus = load(given.dataset, **asked)
    key = place(given.dataset, given.encoder)
    whole = len(corpus)
    corpus = corpus.take(np.arange(whole)[: given.utterances])
    part = {"utterances": len(corpus)} if len(corpus) < whole else {}
    data = features.build(corpus, given.modalities, encoder=given.encoder)
    known = models(data.modalities)
    refuse_unknown("model", given.models or (), known)
    data = features.with_constant(data)
    wanted = [known[name] for name in given.models or known]  # (rule, modalities) each
    for rule, used in wanted if part else ():
        if "utterances" not in choices.stored(key).get(variant(used), {}).get(rule, part):
            tuned = f"{key} {variant(used)} {rule} is tuned with all utterances"
            raise ValueError(f"{tuned}; leave --utterances out, or choose other --models")
    for rule, used in wanted:
        entry = tune(data.only(used), rule) | part
        choices.store(key, variant(used), rule, entry)
        spread = np.ptp([candidate["cv_mae"] for candidate in entry["tried"]])
        print(f"{key} {variant(used)} {rule}: CV MAE {entry['cv_mae']:.4f},",
              f"candidates spread over {spread:.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
