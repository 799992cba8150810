"""Readers' words for stored names: `label("no_gate")` is "DyFuLM without the gate".

Rows and files keep the names; figures and tables show the words. A user's own name is its label.
"""

import re

import pandas as pd

MODALITIES = {"t": "text", "a": "audio", "v": "vision", "n": "noise"}

METRICS = {
    "mae": "mean absolute error",
    "corr": "correlation",
    "acc2_non0": "accuracy of the sign (no zeros)",
    "f1_non0": "F1 of the sign (no zeros)",
    "acc2_has0": "accuracy, negative or not",
    "f1_has0": "F1, negative or not",
    "acc5": "accuracy (5 classes)",
    "acc7": "accuracy (7 classes)",
    "acc7_away_from_zero": "accuracy (7 classes, rounded away from 0)",
    "f1_non0_swapped": "F1 of the sign (no zeros, arguments swapped)",
    "mae_non0": "mean absolute error (no zeros)",
    "corr_non0": "correlation (no zeros)",
    "acc2_non0_ge": "accuracy of the sign (no zeros, >= 0)",
    "f1_non0_ge": "F1 of the sign (no zeros, >= 0)",
    "acc2_positive": "accuracy, positive or not",
    "acc_coarse": "coarse accuracy (3 classes)",
    "acc_fine": "fine accuracy (5 classes)",
    "f1_coarse": "coarse macro-F1 (3 classes)",
    "f1_fine": "fine macro-F1 (5 classes)",
    "mse": "mean squared error",
    "r2": "R² (1: perfect)",
}
LOW = ("mae", "mae_non0", "mse")  # lower is better

MODELS = {
    "daf": "DAF",
    "mean": "plain mean",
    "static": "static weights",
    "concat": "concatenation",
    "gmu": "gated units (GMU)",
    "lmf": "low-rank fusion (LMF)",
    "tfn": "tensor fusion (TFN)",
    "crossmodal": "cross-modal attention",
    "dyfulm": "DyFuLM",
    "single_a": "DyFuLM with encoder A alone",
    "single_b": "DyFuLM with encoder B alone",
    "both": "DyFuLM with DAF's weights",
    "late": "mean of DyFuLM and DAF",
    "constant": "best constant",
    "oracle": "oracle (knows the noise)",
    "tfidf": "bag of words",
    "logistic": "logistic regression",
    "ridge": "ridge regression",
    "mmsa_lf_dnn": "MMSA's LF-DNN",
    "mmsa_ef_lstm": "MMSA's EF-LSTM",
    "mmsa_lmf": "MMSA's LMF",
    "mmsa_tfn": "MMSA's TFN",
    "mmsa_mult": "MMSA's MulT",
}
for m in ("text", "audio", "vision"):
    MODELS[m] = f"{m} alone, one layer"
    MODELS[f"{m}_deep"] = f"{m} alone, two layers"
    MODELS[f"{m}_gated"] = f"{m} alone, gated"

WHOLE = {  # a model and its variant; found without the model's name too
    "dyfulm:no_layer_fusion": "DyFuLM without layer fusion",
    "dyfulm:no_gate": "DyFuLM without the gate",
    "dyfulm:no_guidance": "DyFuLM without guidance",
    "dyfulm:no_dynamic_loss": "DyFuLM with fixed loss weights",
    "dyfulm:no_fusion": "DyFuLM without layer fusion and gate",
    "dyfulm:gate_only": "DyFuLM with the gate alone",
    "dyfulm:none": "DyFuLM without its modules",
    "dyfulm:static_layers": "DyFuLM with one layer mix for all",
    "dyfulm:concat": "DyFuLM, encoders concatenated",
    "dyfulm:dwa": "DyFuLM, loss weights by DWA",
    "dyfulm:huber": "DyFuLM with Huber loss",
    "dyfulm:token_scope": "DyFuLM with a layer mix a token",
    "dyfulm:teacher": "DyFuLM, teacher of the students",
    "both:static": "DyFuLM with static weights",
    "both:no_tanh": "DyFuLM with DAF's weights, no tanh",
    "both:one_head": "DyFuLM with DAF's weights, one head",
    "both:strangers": "DyFuLM with DAF's weights, others' voices",
}
PARTS = {  # variants of any model
    "t+shuffled": "voices of other utterances",
    "t_minilm": "text by MiniLM",
    "t_mpnet": "text by MPNet",
    "vectors": "untuned",
    "vectors-tuned": "tuned",
    "last": "last layer alone",
    "full": "full model",
    "strangers": "others' voices",
}
SOURCES = {  # data sets and encoders
    "mosi": "CMU-MOSI", "mosei": "CMU-MOSEI", "mmmo": "MMMO", "sst5": "SST-5", "meld": "MELD",
    "mosi-leak": "CMU-MOSI, leaking split", "mustardpp": "MUStARD++", "hotel": "hotel reviews",
    "synthetic": "embedded corpus", "synthetic_reviews": "embedded reviews", "minilm": "MiniLM",
    "mpnet": "MPNet", "use": "USE",
    "made_up:en": "made-up English", "made_up:de": "made-up German", "made_up:es": "made-up Spanish"
}  # fmt: skip
HEADS = {  # columns of tables, where these names mean no model and no modality
    "a": "model", "b": "compared with", "mean": "mean", "diff": "difference", "p_holm": "p, Holm",
    "ci_low": "95 % from", "ci_high": "95 % to", "n_seeds": "seeds", "better": "better", "n": "n",
    "low": "95 % from", "high": "95 % to", "auc": "AUC", "ece": "ECE", "cv_mae": "error in folds",
    "mb": "MB", "ms_median": "ms, median", "ms_p95": "ms, 95th percentile",
    "a_cpu_second": "reviews a CPU second", "times_faster": "times faster",
    "times_faster_batch": "times faster, in batches", "mega_operations": "operations, in millions",
    "same_coarse": "same coarse class", "same_fine": "same fine class", "lr": "learning rate",
}  # fmt: skip
NAMED = ("a", "b", "model", "variant", "metric", "rule", "better", "verdict", "system", "dataset",
         "encoder", "target", "pair", "from", "to")  # columns of names  # fmt: skip
SUBSET = re.compile("(?=.)t?a?v?n?$")


def measure(metric: str) -> str:
    """A metric in words, without the direction: "fine accuracy (5 classes)"."""
    plain = metric.removesuffix("_natural")
    return METRICS.get(plain, plain) + (", natural shares" if plain != metric else "")


def label(name: str) -> str:
    """The words for a stored name of a metric, model, variant or subset, else the name itself.

    `model:variant` is one name: "daf:ta" is "DAF, text + audio"; "daf better" is "DAF better".
    """
    if name.endswith(" better"):
        return label(name.removesuffix(" better")) + " better"
    if (plain := name.removesuffix("_natural")) in METRICS:
        return measure(name) + (", lower is better" if plain in LOW else "")
    for found in (name, f"dyfulm:{name}", f"both:{name}"):
        if found in MODELS | WHOLE | PARTS:
            return (MODELS | WHOLE | PARTS)[found]
    if SUBSET.match(name):
        return " + ".join(MODALITIES[letter] for letter in name)
    if ">" in name.strip(">"):  # trained on one, tested on the other
        return " → ".join(map(source, name.split(">")))
    model, _, variant = name.partition(":")
    return f"{label(model)}, {label(variant)}" if variant and model in MODELS else name


def source(name: str) -> str:
    """The words for the name of a data set or an encoder, "CMU-MOSI" for "mosi", else `label`."""
    return SOURCES.get(name) or label(name)


def of_row(model: str, variant: str, usual: str = "full") -> str:
    """The words for a stored row; the usual variant, or one that the model implies, is left out."""
    is_implied = variant in ("full", usual) or model.split("_")[0] == MODALITIES.get(variant)
    return label(model if is_implied else f"{model}:{variant}")


def labelled(table: pd.DataFrame | pd.Series) -> pd.DataFrame:
    """A copy for display: names in columns, index and cells (`NAMED`) become words.

    An index of model and variant becomes one level, by `of_row`.
    """
    shown = pd.DataFrame(table).copy()
    for column in shown.columns.intersection(NAMED):
        shown[column] = shown[column].map(_word)
    if shown.index.names == ["model", "variant"]:
        shown.index = pd.Index([of_row(*row) for row in shown.index], name="model")
    shown = shown.rename(index=_word).rename(columns=lambda name: HEADS.get(name) or _word(name))
    return shown.rename_axis(index=HEADS, columns=HEADS)


def _word(name: object) -> object:
    return source(name) if isinstance(name, str) else name
