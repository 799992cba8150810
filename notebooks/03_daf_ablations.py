# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · Is it the dynamic weights? Ablations of DAF
#
# ![Paired differences of DAF and each other model on
# CMU-MOSI](../figures/mosi-mpnet/03_differences.png)
#
# The picture shows the result on CMU-MOSI with the text encoder MPNet: DAF beats static weights,
# which have one layer less, and only just. It cannot be told from concatenation, nor from text
# alone.
#
# A summary says that the paper's ablation ([arXiv 2509.22729](https://arxiv.org/abs/2509.22729))
# credits dynamic weighting. To test that, every fusion rule gets the same projections, head, loss
# and **tuning budget**: 20 candidates each, cross-validated over videos of train + valid with three
# seeds (`mmlib.daf.tune`). Each modality alone gets the depth of the fusion rules, too. The
# notebook takes about a minute on a CPU with a third of the embedded (generated) corpus.
#
# Before this: [`02_daf`](02_daf.ipynb) (the equations). After it:
# [`04_daf_interpretability`](04_daf_interpretability.ipynb).
#
# **Contents**
#
# - [Every rule, the same budget](#every-rule-the-same-budget)
# - [All subsets of modalities](#all-subsets-of-modalities)
# - [A modality of pure noise](#a-modality-of-pure-noise)
# - [Paired tests](#paired-tests)
# - [Damaged input at test time](#damaged-input-at-test-time)
# - [What choosing on the test split would gain](#what-choosing-on-the-test-split-would-gain)
# - [From validation to test](#from-validation-to-test)
# - [Features that leak](#features-that-leak)
# - [Cost of each rule](#cost-of-each-rule)
# - [The stored runs on real data](#the-stored-runs-on-real-data)
# - [Takeaways](#takeaways)
# - [Exercises](#exercises)

# %% tags=["parameters"]
dataset: str = "synthetic"  # synthetic | mosi | mosi-leak | mosei | mmmo: which corpus
modalities: str = "all"  # which modalities, e.g. "text audio"; all: those the corpus has
models: str = "all"  # which are trained, e.g. "text_deep daf"; all: each modality alone, every rule
noise: bool = False  # True: train every rule again with a modality of 100 Gaussian columns
utterances: int = 2000  # at most so many; 0: all, as in the stored runs
seeds: int = 2  # models trained at once; the stored runs use 20
encoder: str = "minilm"  # of the text: minilm | mpnet, a folder, or a hub id
layers: str = "all"  # text states: of all layers end to end, or of the last
run: str = "interactive"  # folder under papermill_runs that receives the rows

# %%
from dataclasses import replace
from itertools import combinations
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from IPython.display import display

from mmlib.daf import features, fusion, interpret, ridge, train, tune
from mmlib.data import load
from mmlib.figures import plots
from mmlib.scores import results
from mmlib.stack import vectors

plots.style()
pd.set_option("display.precision", 3, "display.width", 110)

# %%
corpus = load(dataset)
if dataset == "synthetic":  # its first rows are whole speakers of all splits; others are drawn
    corpus = corpus.take(np.arange(len(corpus))[: utterances or None])
corpus = corpus.sample(utterances)
states = dict(encoder=encoder, layers=layers)  # of the text

# %%
wanted = None if modalities == "all" else modalities.split()
data = features.build(corpus, wanted, **states)
if noise and not (models == "all" and {"text", "audio"} <= set(data.modalities)):
    raise ValueError("noise=True needs text, audio and models='all'; set noise to False")
everything = features.with_constant(data)  # and a modality that is 1 for every utterance
test = data.take(data.rows("test"))
full = features.variant(data.modalities)

# %%
{**data.dims, **{split: len(data.rows(split)) for split in ("train", "valid", "test")}}

# %% [markdown]
# <a id="every-rule-the-same-budget"></a>
#
# ## Every rule, the same budget
#
# | rule | fusion of the embeddings $h_m$ |
# |---|---|
# | `mean` | $z = \frac1M \sum_m h_m$ |
# | `static` | $z = \sum_m \mathrm{softmax}(\theta)_m h_m$, the same for every utterance |
# | `concat` | $z = \mathrm{relu}(W[h_1; \ldots; h_M])$, the usual static fusion |
# | `gmu` | $z = \sum_m \sigma(G_m[h]) \odot h_m$ (Arevalo et al. 2017) |
# | `lmf` | $z = \frac1R\sum_r \prod_m (1 + W_m^r h_m)$, of rank $R$ (after Liu et al. 2018) |
# | `crossmodal` | each modality attends to all, then the mean (after MulT) |
# | `daf` | $z = \sum_m \alpha_m(h) h_m$ |
# | `text` | one modality, one layer: $z = h_\text{text}$ |
# | `text_deep` | one modality, two layers: $z = \mathrm{relu}(W h_\text{text})$, `concat` of one |
# | `text_gated` | `daf` on text and a constant $c$: $z = \alpha h_\text{text} + (1 - \alpha) h_c$ |
# | `ridge` | a linear model of all features, fit on train + valid, its penalty chosen in folds |
#
# $[\ldots]$ puts vectors end to end; $\sigma$ is the sigmoid, $\odot$ the product by elements; $M$
# counts the modalities; $\theta$, $W$ and $G$ are learned. Biases and the mask of absent modalities
# are left out. The one-modality models are the controls: `text` has one layer less than `concat`
# and `daf`, so their gain over it may come from depth. `text_deep` and `text_gated` have that depth
# and no second modality.
#
# The table shows the best settings found (`papermill_runs/settings.json`). `t`, `a`, `v` and `c`
# are text, audio, vision and a constant: `t` with `mean` is `text`, `t` with `concat` is
# `text_deep`, and `tc` is `text_gated`. `lr` is the learning rate; the parameters of the rule
# itself learn `fusion_lr` times as fast. `cv_mae` is the cross-validated error, `worst` that of the
# worst candidate, and `near` counts the candidates within .005 of the best. A corpus that was not
# tuned uses one default for all rules and has an empty table. After the
# embedded corpus was tuned, only the wording of its texts changed.

# %%
tuned = pd.DataFrame(tune.table(dataset, encoder))
tuned.drop(columns="candidates", errors="ignore")

# %%
known = tune.models(data.modalities)  # name -> (rule, modalities)
is_tuned = {names for _, names in known.values()}
every_seed = range(seeds)


# %%
def predicted(rule: str, used: tuple, source: vectors.Features, seeds=every_seed) -> np.ndarray:
    """Test scores (s, n) of a rule, with its stored settings; a subset has the full set's."""
    settings = tune.settings(dataset, used if used in is_tuned else data.modalities, rule, encoder)
    fit = train.fit(source.only(used), settings, seeds)
    return fit.predict(source.only(used).take(source.rows("test"))).score


# %%
chosen = [*known, "ridge"] if models == "all" else models.split()
fits = {}

# %%
for name in chosen:
    if name != "ridge":
        rule, used = known[name]
        settings = tune.settings(dataset, used, rule, encoder)
        fits[name] = train.fit(everything.only(used), settings, every_seed)

# %%
unseen = everything.take(everything.rows("test"))
scores = {name: fit.predict(unseen.only(known[name][1])).score for name, fit in fits.items()}
if "ridge" in chosen:
    scores["ridge"] = ridge.learn(data).predict(ridge.columns(test))  # (n,): it has no seeds

# %%
place = dict(notebook="03_daf_ablations", dataset=dataset, split="test")
rows = []

# %%
for name, score in scores.items():
    seen = [m for m in known.get(name, ("", data.modalities))[1] if m != features.CONSTANT]
    subset = features.variant(seen)
    rows += results.rows(score, test.label, test.groups, model=name, variant=subset, **place)
constant = np.full(len(test), np.median(data.label[data.rows("train")]))

# %%
rows += results.rows(constant, test.label, test.groups, model="constant", variant=full, **place)
frame = pd.DataFrame(rows)
plots.labelled(results.table(frame, line=("model", "variant")))

# %%
figure = plots.intervals(frame, "mae")
_ = plots.save(figure, "03_rules", run)
best_of = frame[frame["metric"] == "mae"].set_index("model")["mean"]

# %%
print(
    f"Lowest MAE: {plots.label(best_of.idxmin())}, {best_of.min():.2f}. "
    f"The constant has {best_of['constant']:.2f}."
)

# %% [markdown]
# <a id="all-subsets-of-modalities"></a>
#
# ## All subsets of modalities
#
# DAF can be trained on any subset, as absent modalities are masked out of the softmax. On the
# embedded corpus its error is lowest with all three; the table compares the subsets.

# %%
subsets = [c for k in range(2, len(data.modalities)) for c in combinations(data.modalities, k)]

# %%
for subset in subsets if models == "all" else ():
    score = predicted("daf", subset, data)
    rows += results.rows(
        score, test.label, test.groups, model="daf", variant=features.variant(subset), **place
    )

# %%
frame = pd.DataFrame(rows)
alone = frame[frame["model"].isin({*known} - {*fusion.RULES} | {"daf"})]
plots.labelled(results.table(alone, ("mae", "corr", "f1_non0"), ("model", "variant")))

# %%
errors_of = alone.query("metric == 'mae'").set_index(["model", "variant"])["mean"]
if len(errors_of) > 1:
    lowest = errors_of.sort_values()
    print(f"Lowest error: {plots.of_row(*lowest.index[0])}, {lowest.iloc[0]:.3f}.")

# %% [markdown]
# **One model for every subset.** A model trained on all modalities can also be *used* without one.
# On the embedded corpus its mean error is then within .03 of that of DAF trained on the remaining
# two, in the table above (not tested).


# %%
def error(score: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Mean absolute error, (s,) of scores (s, n) or () of (n,)."""
    return np.abs(score - label).mean(axis=-1)


# %%
masked = {}
for m in data.modalities if "daf" in fits else ():
    hidden = interpret.perturb(test, m, "missing")
    masked[f"DAF without {m}"] = error(fits["daf"].predict(hidden).score, test.label).mean()
pd.Series(masked, name="MAE", dtype=float).round(2)

# %%
for m in data.modalities if masked and subsets and models == "all" else ():
    rest = features.variant([other for other in data.modalities if other != m])
    if ("daf", rest) in errors_of:
        extra = masked[f"DAF without {m}"] - errors_of["daf", rest]
        print(f"without {m}: {extra:+.3f} MAE against DAF trained without {m}")

# %% [markdown]
# <a id="a-modality-of-pure-noise"></a>
#
# ## A modality of pure noise
#
# A dynamic weighting should be able to ignore a useless modality. So 100 Gaussian columns join the
# data as a modality of their own (`n`), and `static`, `concat` and `daf` are trained again. `tn` is
# text and noise, `tan` has the audio too. In `t+shuffled` the audio is that of other utterances, in
# five random orders, each with a fifth of the seeds. The cost is the MAE minus that of `text_deep`,
# which has the text alone. Holm's correction covers these costs apart from the tests below. By
# default these models are not trained; the stored runs have them.


# %%
def with_noise(source: vectors.Features) -> vectors.Features:
    """The same utterances and a modality "noise" that knows nothing."""
    drawn = np.random.default_rng(0).standard_normal((len(source), 100)).astype(np.float32)
    everyone = np.ones((len(source), 1), dtype=bool)
    return replace(
        source, x={**source.x, "noise": drawn}, present=np.hstack([source.present, everyone])
    )


# %%
ORDERS = 5  # of `t+shuffled`


# %%
def with_shuffled(source: vectors.Features, draw: int) -> vectors.Features:
    """The audio taken from another utterance of the same split, in training too."""
    rng, order = np.random.default_rng(draw), np.arange(len(source))
    for split in ("train", "valid", "test"):
        order[source.rows(split)] = rng.permutation(source.rows(split))
    column = source.modalities.index("audio")
    present = source.present.copy()
    present[:, column] = present[order, column]
    return replace(source, x={**source.x, "audio": source.x["audio"][order]}, present=present)


# %%
useless, controls = {}, {}
if noise:
    useless = {full + "n": with_noise(data), "tn": with_noise(data.only(["text"]))}

# %%
for rule in ("static", "concat", "daf") if useless else ():
    for name, source in useless.items():
        controls[f"{rule}:{name}"] = predicted(rule, source.modalities, source)
    controls[f"{rule}:t+shuffled"] = shuffled = np.empty((seeds, len(test)), np.float32)
    for k in range(min(ORDERS, seeds)):
        strangers = with_shuffled(data.only(["text", "audio"]), k)
        shuffled[k::ORDERS] = predicted(
            rule, strangers.modalities, strangers, every_seed[k::ORDERS]
        )

# %%
for name, score in controls.items():
    rule, _, part = name.partition(":")
    rows += results.rows(score, test.label, test.groups, model=rule, variant=part, **place)

# %%
costs = []
if controls:
    beside = {**controls, "text_deep": scores["text_deep"]}
    control_pairs = [(name, "text_deep") for name in controls]
    costs = results.comparisons(
        beside, control_pairs, test.label, test.groups, variant=full, metrics=["mae"], **place
    )

# %%
ENDS = ["diff", "ci_low", "ci_high", "p_holm"]
if costs:
    display(plots.labelled(pd.DataFrame(costs).set_index("a")[ENDS].round(3)))

# %% [markdown]
# For CMU-MOSI this cost is stored, with 20 seeds (runs `mosi` and `mosi-mpnet`; their commands
# stand in `papermill_runs/params`). With each useless modality `static` is furthest above
# `text_deep`, by .023 to .064, and these intervals exclude zero. But no cost is told apart after
# Holm's correction (p at least .056). And `static` has one layer less than `text_deep`. The error
# of `static` minus that of `text`, which is as deep, is -.011 to +.022 (not tested). So depth may
# explain half of this cost or more. `concat` loses at most .017 by the mean, `daf` at most .003,
# and all their intervals include zero. Below, DAF with voice is compared with DAF with noise
# ([there](#the-stored-runs-on-real-data)).

# %%
noisy = {}
for name in filter(results.runs().__contains__, ("mosi", "mosi-mpnet")):
    against = results.load_comparisons(name).query("b == 'text_deep' and a.str.contains(':')")
    noisy[name] = against.set_index("a")[ENDS]
    display(plots.labelled(noisy[name].round(3)))

# %%
for name, table in noisy.items():
    of_noise = table[table.index.str.endswith(":tn")].itertuples()
    said = [f"{x.Index[:-3]} {x.diff:+.3f} [{x.ci_low:+.3f}, {x.ci_high:+.3f}]" for x in of_noise]
    print(f"{name}: noise beside text costs, in MAE: {', '.join(said)}")

# %% [markdown]
# Which part of the training protects DAF against noise? No stored run answers this. Exercise 4
# trains DAF again with one part changed at a time.

# %% [markdown]
# <a id="paired-tests"></a>
#
# ## Paired tests
#
# Two models can differ clearly although their intervals overlap, since both were tested on the same
# videos. So we test paired differences, seed by seed and video by video (`mmlib.scores.stats`).
# Two models are told apart if the interval excludes 0 and p is below .05 after Holm's correction
# for all tests of the table ([why](book/intervals.md)). Negative MAE differences favour DAF.

# %%
tested = {**scores, **{name: x for name, x in controls.items() if name.startswith("daf:")}}
rivals = [("daf", other) for other in tested if other != "daf" and "daf" in tested]

# %%
pairs = (
    results.comparisons(
        tested, rivals, test.label, test.groups, variant=full, metrics=("mae", "corr"), **place
    )
    if rivals
    else []
)

# %%
shown = ["a", "b", "metric", "diff", "ci_low", "ci_high", "p_holm"]
plots.labelled(pd.DataFrame(pairs, columns=shown)).round(3)

# %%
winners = {p["b"]: results.better(p) for p in pairs if p["metric"] == "mae"}
worse = [b for b, winner in winners.items() if winner == "daf"]
better = [b for b, winner in winners.items() if winner == b]
level = [b for b, winner in winners.items() if not winner]
what = "MAE against DAF" if winners else "Without DAF nothing is compared"
print(f"{what}. worse:", *worse or ["none"])

# %%
print("not told apart:", *level or ["none"])
print("better:", *better or ["none"])
FAR = "audio|vision"  # one of them alone is far behind, and would squeeze the others

# %%
drawn = pd.DataFrame(pairs, columns=shown).query("not b.str.match(@FAR)")
if len(drawn):
    _ = plots.save(plots.differences(drawn, "mae"), "03_differences", run)

# %%
if dataset == "synthetic" and models == "all" and modalities == "all" and len(corpus) >= 2000:
    simpler = {*known} - {*fusion.RULES} | {"mean", "static", "ridge"}  # one modality, at any depth
    assert simpler <= set(worse)

# %% [markdown]
# On the embedded corpus DAF is better than every model of one modality at any depth, than the plain
# mean, than fixed weights, and than `ridge`. But it is not better than every fusion rule: the lines
# above name those from which it is not told apart. The picture leaves out audio alone and vision
# alone; DAF is better than they are, too.

# %% [markdown]
# <a id="damaged-input-at-test-time"></a>
#
# ## Damaged input at test time
#
# One modality at a time is missing, noisy, shuffled between utterances, or taken from an utterance
# of the opposite sign (`conflict`). The table has the mean error over modalities. A dynamic rule
# can take weight from a damaged modality. But it can also lose more, if it relies on that modality.
# So we also print how much the error *rises*. In the stored output DAF's error rises more than that
# of `static` and stays below it. Against `concat` damage brings DAF no further advantage: DAF's
# error is .014 lower without damage, and with it the two differ by at most .03 (not tested; on
# another processor the first difference was .022).

# %%
shares = (0, 0.5, 1)

# %%
damage = {
    name: interpret.robustness(fits[name], test, error, shares)
    for name in ("static", "concat", "daf")
    if name in fits
}

# %%
if damage:
    curves = pd.concat(damage, names=["model"]).groupby(["model", "how", "share"])["error"].mean()
    print(curves.unstack("share").round(2))

# %%
if {"daf", "static"} <= set(damage):
    rises = (curves.unstack("share")[1] - curves.unstack("share")[0]).unstack("model")
    times = (rises["daf"] / rises["static"]).astype(float).round(1)
    print("DAF's error rises by more than static's, as a multiple:", times[times > 1].to_dict())
    print("by less:", times[times <= 1].to_dict() or "never")

# %%
if "daf" in damage:
    shuffled = damage["daf"].query("how == 'shuffle'").groupby(["modality", "share"])["error"]
    bands = shuffled.agg(["mean", "min", "max"])  # over seeds
    lines = {m: bands.loc[m].to_numpy() for m in data.modalities}
    figure = plots.curves(
        shares, lines, xlabel="share of utterances shuffled", ylabel="error (MAE)"
    )
    rise = {m: values[-1, 0] - values[0, 0] for m, values in lines.items()}
    worst, least = max(rise, key=rise.get), min(rise, key=rise.get)
    figure.axes[0].set_title(f"Shuffling {worst} costs DAF most, {least} least")
    _ = plots.save(figure, "03_robustness", run)
    print(
        f"Shuffled, {worst} costs {rise[worst]:.2f} MAE and {least} {rise[least]:+.2f}. "
        "Bands: the range over seeds."
    )

# %% [markdown]
# <a id="what-choosing-on-the-test-split-would-gain"></a>
#
# ## What choosing on the test split would gain
#
# Some published systems chose their epoch on the test split ([08b](08b_tables.ipynb)). A milder
# form is to report the best seed's test score in place of the mean over seeds. How much would that
# gain? Only the *reported* number improves; no model does. The gain is never negative, since no
# seed is better than the best. The last takeaway has the largest gain.

# %%
honest = {name: error(score, test.label).mean() for name, score in scores.items()}
peeked = {name: error(score, test.label).min() for name, score in scores.items()}
gain = pd.DataFrame({"mean over seeds": honest, "best seed on test": peeked})
gain["gain"] = gain.iloc[:, 0] - gain.iloc[:, 1]

# %%
plots.labelled(gain.round(3))

# %% [markdown]
# <a id="from-validation-to-test"></a>
#
# ## From validation to test
#
# A model's error on the validation split should predict its error on the test split. A gap much
# larger than the others points to a fault in the data, such as features that leak. On the embedded
# corpus no model stands out. Ridge has no validation error here.

# %%
gap = pd.DataFrame(
    {"valid": {name: fit.valid_loss.mean() for name, fit in fits.items()}, "test": honest}
)
gap["test - valid"] = gap["test"] - gap["valid"]
plots.labelled(gap.round(3))

# %%
widest = gap["test - valid"].dropna()
if len(widest):
    name = widest.idxmax()
    what = "Largest rise" if widest[name] > 0 else "Every error falls. Smallest fall"
    print(f"{what} from validation to test: {plots.label(name)}, {widest[name]:+.3f} MAE.")

# %% [markdown]
# <a id="features-that-leak"></a>
#
# ## Features that leak
#
# CMU-MOSI's other split has visual features that were made by a network. That network had seen the
# labels of the split's training videos. Such features say much about training videos and little
# about new ones. A scorer that learned on them cannot notice this, since they did work in training.
#
# A classifier can look for it without test labels: it tries to tell training utterances from test
# utterances by their features. Its AUC is near .5 if both come from one distribution. Other
# speakers alone can raise it, so a high AUC is a warning and no proof; below .5 is chance, too. The
# generated corpus has no leak.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

told = {}
for m, v in data.x.items():
    where = np.concatenate([data.rows("train")[:1000], data.rows("test")[:1000]])
    is_test = data.split[where] == "test"
    model = LogisticRegression(C=1e-3, max_iter=200)
    guess = cross_val_predict(model, v[where], is_test, cv=3, method="predict_proba")[:, 1]
    told[m] = roc_auc_score(is_test, guess)

# %%
print("AUC, train or test?", {m: round(float(auc), 2) for m, auc in told.items()})
leaky = max(told, key=lambda m: abs(told[m] - 0.5))
print(f"The easiest to tell is {leaky}: {abs(told[leaky] - 0.5):.2f} from chance.")

# %% [markdown]
# What does a leak do to the error? The run `mosi-leak` shows it (20 seeds; its command stands in
# `papermill_runs/params/mosi-leak.yaml`). The table has the test error of vision alone, beside that
# of the constant, on both corpora.

# %%
has_leak = "mosi-leak" in results.runs()
leaked = results.load("mosi-leak") if has_leak else pd.DataFrame(columns=list(results.ROW))
leaked = leaked.query("notebook == '03_daf_ablations' and metric == 'mae'")
both = {"mosi-leak": leaked, dataset: pd.DataFrame(rows).query("metric == 'mae'")}
alone = pd.concat(
    {name: table.query("model in ['vision', 'constant']") for name, table in both.items()}
)
results.table(alone.reset_index(names=["corpus", "row"]), ["mae"], line=("model", "corpus"))

# %%
for name, table in both.items():
    at = table.groupby("model")["mean"].first()
    if {"vision", "constant"} <= set(at.index):
        gained = 1 - at["vision"] / at["constant"]
        way = "below" if gained > 0 else "above"
        print(f"{name}: vision alone has an error {abs(gained):.0%} {way} that of the constant")

# %% [markdown]
# On new videos of the leaking split, vision alone has a mean error 2 % above the constant's (not
# tested). Cross-validation
# cannot notice it: the features have seen the labels of all videos in its folds. So in the folds
# vision looks useful. On test DAF's mean error with vision (`tav`) is higher than without (`ta`).
# The two intervals overlap, and their paired difference is not stored. An earlier run with default
# settings, which is stored no longer (commit fe924b5), had .820 with vision and .791 without.
# The classifier finds little: the AUC of vision is hardly above that of audio, which has no leak.

# %%
folds = pd.DataFrame(tune.table("mosi-leak")).set_index(["variant", "rule"])["cv_mae"]
at = leaked.set_index(["variant", "model"])
shown = {"vision alone": ("v", "mean", "vision"), "DAF with vision": ("tav", "daf", "daf")}
shown |= {"deep text": ("t", "concat", "text_deep"), "DAF without vision": ("ta", "", "daf")}

# %%
for name, (part, rule, model) in shown.items() if has_leak else ():
    row = at.loc[(part, model)]
    inside = f"in folds {folds[part, rule]:.3f}, " if rule else ""
    print(
        f"mosi-leak, {name}, MAE: {inside}on new videos {row['mean']:.3f} "
        f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    )
if has_leak:
    auc = results.load_table("mosi-leak", "03_leak").set_index("modality")["auc"]
    print("mosi-leak, AUC, train or test?", auc.round(2).to_dict())

# %%
if has_leak:
    error_of = {name: at.loc[(part, model), "mean"] for name, (part, _, model) in shown.items()}
    assert error_of["vision alone"] > 0.95 * at.loc[("tav", "constant"), "mean"]
    assert error_of["DAF with vision"] > error_of["DAF without vision"]
    assert error_of["vision alone"] > folds["v", "mean"] + 0.3  # the folds flatter it

# %% [markdown]
# <a id="cost-of-each-rule"></a>
#
# ## Cost of each rule
#
# Most parameters are in the projections, which all rules share; DAF's scorer adds few. The time of
# one pass is a multiple of the mean fusion's in this run, because ratios differ less between
# machines than times do. A ratio near 1 is within the noise of the clock, so read only large
# ratios.


# %% tags=["nbval-ignore-output"]
def seconds(model: fusion.Fusion, n: int) -> float:
    """Best of 15 passes over n utterances."""
    x = {m: torch.zeros(1, n, d) for m, d in data.dims.items()}
    present, best = torch.ones(1, n, len(x), dtype=torch.bool), np.inf
    with torch.inference_mode():
        for _ in range(15):
            start = perf_counter()
            model(x, present)
            best = min(best, perf_counter() - start)
    return best


built = {rule: fusion.create(rule, data.dims) for rule in fusion.RULES}
cost = pd.DataFrame(index=list(built))
cost["parameters"] = [sum(p.numel() for p in model.parameters()) for model in built.values()]
for name, n in (("one utterance", 1), ("a thousand", 1000)):
    cost[name] = [seconds(model, n) for model in built.values()]
cost["memory, MB"] = cost["parameters"] * 4 / 1e6
cost[["one utterance", "a thousand"]] /= cost.loc["mean", ["one utterance", "a thousand"]]
plots.labelled(cost.round(2))

# %%
more = cost["parameters"] / cost.loc["mean", "parameters"] - 1
print(f"DAF has {more['daf']:.1%} more parameters than the plain mean, concatenation", end=" ")
print(f"{more['concat']:.1%}.")

# %%
given = dict(
    dataset=dataset,
    modalities=modalities,
    models=models,
    noise=noise,
    utterances=utterances,
    seeds=seeds,
    **states,
)

# %%
_ = results.save(
    rows,
    run,
    "03_daf_ablations",
    comparisons=pairs + costs,
    parameters=given,
    checksums=dict(corpus.checksums),
)
_ = results.save_table(pd.DataFrame({"modality": [*told], "auc": [*told.values()]}), run, "03_leak")

# %% [markdown]
# <a id="the-stored-runs-on-real-data"></a>
#
# ## The stored runs on real data
#
# These runs have 20 seeds on CMU-MOSI, text + audio, with MiniLM (`mosi`) or MPNet (`mosi-mpnet`;
# commands in `papermill_runs/params`). Test rows with other tuning budgets had been stored before
# the present one was fixed ([08b](08b_tables.ipynb)). DAF with the real audio is compared with DAF
# that has the audio of other utterances (`t+shuffled`), Gaussian noise in its place (`tn`), or
# noise as a third modality (`tan`).

# %%
stored = {}

# %%
for name in ("mosi", "mosi-mpnet"):
    if name in results.runs():
        tests = results.load_comparisons(name).query("metric == 'mae' and a == 'daf'")
        stored[name] = tests.set_index("b")
        figure = plots.differences(tests.query("not b.str.match(@FAR)"), "mae")
        axes = figure.axes[0]
        axes.set_title(f"Run {name}: {axes.get_title()}")
        _ = plots.save(figure, f"03_differences_{name}", run)
        display(plots.labelled(stored[name][["diff", "ci_low", "ci_high", "p", "p_holm"]].round(3)))

# %%
for name, tests in stored.items():
    winner = tests.reset_index().apply(results.better, axis=1)
    settled = set(tests.index[winner == "daf"])
    assert not {"text_deep", "text_gated", "daf:t+shuffled", "concat"} & settled  # as said below
    print(f"{name}: DAF's error is established as the lower one against:", *sorted(settled))
    for other, instead in (("t+shuffled", "the voice of other utterances"), ("tn", "noise")):
        own = tests.loc[f"daf:{other}"]
        print(
            f"  MAE that the utterance's own voice saves DAF, against {instead} in its place: "
            f"{-own['diff']:+.3f} [{-own['ci_high']:+.3f}, {-own['ci_low']:+.3f}]"
        )

# %% [markdown]
# **Where the claim fails.** The paper claims that DAF beats static weights and any single modality.
# Against static weights we find this with MPNet only, if the leak's run is left out, and at the
# edge: $p$ is .045 after Holm, and .060 if the costs of noise are corrected together with the
# pairs. And `static`, like `text`, has one layer, and DAF's scorer is a second one. The mean error
# of text alone with two layers is .030 below that of `static`, too (not tested), so depth may
# explain it. Concatenation is a static fusion with two layers, and DAF cannot be told from it.
#
# On MOSI no model of text alone can be told from DAF. `text`, with one layer, has a higher mean
# error; with a second layer (`text_deep`), or DAF's scorer beside a constant (`text_gated`), that
# difference shrinks. So *depth* may explain it. On CMU-MOSEI, of which we have the text alone, a
# second layer lowers the error of `text` by .027 [.019, .035], and DAF's scorer beside a constant
# by .023 [.016, .030] (run `mosei-text`, both $p$ < .001). With MPNet they do so by .024 [.017,
# .031] and .021 [.015, .027] (run `mosei-mpnet`, both $p$ < .001). We see no gain from the *audio*:
# DAF with the audio of other utterances, or with noise in its place, cannot be told from DAF. The
# intervals above bound a possible benefit. With `text` as the only control and no correction for
# many tests, we would have credited the audio in the run `mosi`.

# %% [markdown]
# **Frozen text, or fine-tuned?** DAF freezes its encoders. In the run `mosi-finetuned` MiniLM first
# learned sentiment on MOSI's training transcripts (`papermill_runs/finetune/mosi-text.yaml`). Then
# it was frozen for the same rules, with the settings chosen before for MiniLM; the other two
# columns are tuned. MiniLM was fine-tuned once, so no interval below covers how much another such
# training would change. Differences between encoders are not tested.

# %%
TEXTS = {"mosi": "MiniLM", "mosi-finetuned": "MiniLM, fine-tuned", "mosi-mpnet": "MPNet"}
WANTED = ["text_deep", "static", "concat", "daf"]
has_all = set(TEXTS) <= set(results.runs())

# %%
if has_all:
    kept = pd.concat([results.load(name).assign(encoder=text) for name, text in TEXTS.items()])
    kept = kept.query("notebook == '03_daf_ablations' and metric == 'mae' and model in @WANTED")
    errors = kept.query("variant in ['t', 'ta']")
    wide = results.table(errors, line=("model", "encoder"))["mae"].unstack()
    display(plots.labelled(wide.loc[WANTED, [*TEXTS.values()]]))

# %%
if has_all:
    means = errors.set_index(["encoder", "model"])["mean"]
    frozen, learned, larger = (means[text, "daf"] for text in TEXTS.values())
    assert larger < learned < frozen
    print(f"DAF's error with MiniLM frozen is {frozen:.3f}, fine-tuned {learned:.3f},", end=" ")
    print(f"with MPNet frozen {larger:.3f}.")

# %%
if has_all:
    tests = results.load_comparisons("mosi-finetuned").query("metric == 'mae' and a == 'daf'")
    own = tests.set_index("b").loc["text_deep"]
    assert own["ci_low"] < 0 < own["ci_high"]  # the voice is not seen to help here either
    ends = f"[{own['ci_low']:+.3f}, {own['ci_high']:+.3f}]"
    print(f"Fine-tuned, DAF minus deep text: {own['diff']:+.3f} {ends}.")

# %% [markdown]
# <a id="takeaways"></a>
#
# ## Takeaways

# %%
best = min(honest, key=honest.get)
beside = "" if best == "daf" or "daf" not in honest else f"; DAF {honest['daf']:.2f}"
print(f"Lowest MAE on {dataset}: {plots.label(best)}, {honest[best]:.2f}{beside}.")
easy = [b for b in winners if b.startswith(("audio", "vision"))]  # weak alone: counted apart
hard = [b for b in winners if b not in easy]

# %%
kinds = (worse, hard), (level, hard), (worse, easy)
counts = [len(set(some) & set(kind)) for some, kind in kinds]
if winners:
    print(
        f"Of {len(hard)} rivals with text or fusion, worse than DAF: {counts[0]}; not told apart: "
        f"{counts[1]}. Of {len(easy)} with audio or vision alone, worse: {counts[2]}."
    )

# %%
print(f"The best of {seeds} seeds on test would have 'gained' up to {gain['gain'].max():.3f} MAE.")

# %% [markdown]
# Next: [`04_daf_interpretability`](04_daf_interpretability.ipynb) asks whether the weights are
# meaningful.

# %% [markdown]
# <a id="exercises"></a>
#
# ## Exercises
#
# Each takes a few lines below the last cell. The solutions run as they are.
#
# **1.** Average the scores of the deep one-modality models. Does DAF beat such a late fusion?
#
# <details><summary>Solution</summary>
#
# ```python
# late = np.mean([scores[f"{m}_deep"] for m in data.modalities], axis=0)
# print(f"late fusion {error(late, test.label).mean():.3f}, DAF {honest['daf']:.3f}")
# ```
#
# </details>
#
# **2.** How many of the paired tests fall below .05 without Holm's correction, and how many with?
#
# <details><summary>Solution</summary>
#
# ```python
# for column in ("p", "p_holm"):
#     print(column, sum(p[column] < 0.05 for p in pairs), "of", len(pairs))
# ```
#
# </details>
#
# **3.** Shuffle each modality at test time. Which one does `concat` need most?
#
# <details><summary>Solution</summary>
#
# ```python
# for m in data.modalities:
#     shuffled_test = interpret.perturb(test, m, "shuffle")
#     print(m, round(error(fits["concat"].predict(shuffled_test).score, test.label).mean(), 2))
# ```
#
# </details>
#
# **4.** Which part of the training protects DAF against a modality of noise? Change one at a time.
# With two seeds a difference of a few thousandths is chance: on CMU-MOSI use 20, and a paired test.
#
# <details><summary>Solution</summary>
#
# ```python
# source, base = with_noise(data), tune.settings(dataset, data.modalities, "daf", encoder)
# changed = {"as tuned": {}, "modality dropout .3": dict(modality_dropout=0.3)}
# changed["no feature dropout"] = dict(feature_dropout=0.0)
# for name, change in changed.items():
#     fit = train.fit(source, replace(base, **change), every_seed)
#     found = fit.predict(source.take(source.rows("test")))
#     mae = error(found.score, test.label).mean()
#     print(f"{name}: MAE {mae:.3f}, weight of the noise {found.weights[..., -1].mean():.3f}")
# ```
#
# </details>
