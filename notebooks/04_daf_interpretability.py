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
# # 04 · Do DAF's weights mean anything?
#
# ![Mean weights on CMU-MOSI by how far the opinions are
# apart](../figures/mosi-mpnet/04_conflict.png)
#
# It takes about a minute on a CPU with the embedded corpus. The paper calls its attention weights
# interpretable and shows examples. Here each claim gets a number first and a picture second. On the
# embedded corpus the truth is known, so we report the rank correlation of weight and
# informativeness. On real data we report faithfulness: does damage to a modality change the score
# more where its weight is larger?
#
# Before this: [`02_daf`](02_daf.ipynb), [`03_daf_ablations`](03_daf_ablations.ipynb). After it:
# [`08_results`](08_results.ipynb). No text of a real data set is shown here, only ids, lengths and
# scores.
#
# Paper: [arXiv 2509.22729](https://arxiv.org/abs/2509.22729) · after: [05_dyfulm](05_dyfulm.ipynb)
#
# **Contents**
#
# - [1 · Against the known truth](#1--against-the-known-truth)
# - [2 · Weights by sentiment intensity](#2--weights-by-sentiment-intensity)
# - [3 · Weights by confidence and by conflict](#3--weights-by-confidence-and-by-conflict)
# - [4 · Entropy](#4--entropy)
# - [5 · Faithfulness](#5--faithfulness)
# - [6 · Single utterances, as a table](#6--single-utterances-as-a-table)
# - [7 · The paper's failure signatures, as a
#   diagnosis](#7--the-papers-failure-signatures-as-a-diagnosis)
# - [8 · Real data](#8--real-data)
# - [Takeaways](#takeaways)
# - [Exercises](#exercises)

# %% tags=["parameters"]
dataset: str = "synthetic"  # synthetic | mosi | mmmo | sims: which corpus of two modalities or more
modalities: str = "all"  # which modalities, e.g. "text audio"; all: those the corpus has
leak: bool = False  # True: MOSI's other split with its visual features, made from training labels
seeds: int = 2  # models trained at once; the stored runs use 20
encoder: str = "minilm"  # of the text: minilm | mpnet, a folder, or a hub id
layers: str = "all"  # text states: of all layers end to end, or of the last
run: str = "interactive"  # folder under papermill_runs that receives the tables

# %%
import numpy as np
import pandas as pd
from IPython.display import display
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression

from mmlib.daf import features, interpret, train, tune
from mmlib.data import load
from mmlib.data.corpus import EMOTIONS
from mmlib.figures import plots
from mmlib.scores import results

plots.style()
pd.set_option("display.precision", 3, "display.width", 110)

# %%
options = {"split": "bclstm", "modalities": ("text", "audio", "vision")} if leak else {}
corpus = load(dataset, **options)
states = dict(encoder=encoder, layers=layers)  # of the text
data = features.build(corpus, None if modalities == "all" else modalities.split(), **states)
if len(data.modalities) < 2:
    only = f"{dataset} ({corpus.variant}) has {data.modalities[0]} alone"
    raise ValueError(f"{only}; weights need two modalities: use a file or data set that has them")
fits = {}

# %%
for rule in ("static", "daf"):
    settings = tune.settings(dataset, data.modalities, rule, encoder)
    fits[rule] = train.fit(data, settings, range(seeds))

# %% [markdown]
# All tables below are about the test split: scores `(s, n)`, weights `(s, n, m)` that sum to one
# over `m`, and opinions `(s, n, m)`, with $\hat y = \sum_m \alpha_m o_m$ (notebook 02).

# %%
test = data.take(data.rows("test"))
found = {rule: fit.predict(test) for rule, fit in fits.items()}
daf = found["daf"]
alpha = daf.weights.mean(axis=0)  # (n, m), mean over seeds
assert np.allclose((daf.weights * daf.opinions).sum(-1), daf.score, atol=1e-4)

# %%
daf.score.shape, daf.weights.shape

# %% [markdown]
# <a id="1--against-the-known-truth"></a>
#
# ## 1 · Against the known truth
#
# On the embedded corpus every modality of every utterance has an informativeness $q_m$ that made
# its evidence more or less noisy. Two numbers judge DAF:
#
# - the **rank correlation** between its weight and the true precision share
# $p_m / \sum_{m'} p_{m'}$, in each modality and pooled (goal: .6);
# - the **gap closed**: DAF's share of the possible improvement, from fixed weights to a ceiling
# (goal: 70 %):
#
# $$\text{gap closed} = \frac{\mathrm{MAE}_\text{fixed} - \mathrm{MAE}_\text{DAF}}
#                            {\mathrm{MAE}_\text{fixed} - \mathrm{MAE}_\text{ceiling}}$$
#
# There are two starting points and two ceilings. *Fixed weights* are the best linear weighting of
# the true evidence (notebook 01), or the trained `static` rule. The latter does better, since its
# embeddings can shrink where their own modality looks unclear. *Ceilings* are the true evidence
# weighted by its true precision (`best weighting`, all that attention can reach), or the oracle,
# which also knows how often each label occurs.


# %%
def gaps(corpus, data, fits) -> pd.DataFrame:
    """Share of each gap that DAF closes, on the test split: fixed weights by ceiling."""
    truth, fit, rows = corpus.truth, data.rows("train"), data.rows("test")
    heard = truth["evidence"] * (truth["precision"] > 0)  # (n, m), 0 if missing
    best = LinearRegression().fit(heard[fit], corpus.label[fit]).predict(heard[rows])
    test = data.take(rows)
    guess = {"best fixed weights": best, "best weighting": truth["weighted"][rows]}
    guess |= {"oracle": truth["oracle"][rows]}
    guess |= {name: one.predict(test).score for name, one in fits.items()}
    mae = {name: float(np.abs(one - test.label).mean()) for name, one in guess.items()}
    print("MAE:", {name: round(error, 2) for name, error in mae.items()})
    return pd.DataFrame(
        {
            ceiling: {
                start: interpret.gap_closed(mae[start], mae["daf"], mae[ceiling])
                for start in ("best fixed weights", "static")
            }
            for ceiling in ("best weighting", "oracle")
        }
    )


# %%
if corpus.truth:
    truth = corpus.truth["weights"][data.rows("test")]
    ranks = interpret.agreement(daf.weights, truth, test.present)  # (s, m + 1)
    names = [*data.modalities, "pooled"]
    print("rank correlation:", dict(zip(names, ranks.mean(axis=0).round(2).tolist(), strict=True)))
    closed = gaps(corpus, data, fits)
    assert ranks.mean(axis=0).min() > 0.6
    assert closed.loc["best fixed weights", "oracle"] > 0.7
    display(closed.round(2))

# %% [markdown]
# DAF meets the goal of 70 % from the best fixed weights to the oracle. The trained static rule is
# the stricter start; the takeaways say whether this run meets the goal from there.
#
# **A trivial baseline.** Noise that is visible in the features can be found without attention. The
# baseline is minus the mean of the frames' standard deviations, which audio and vision have; it
# uses no label. If its rank correlation with the precision is above DAF's, informativeness can be
# read here without learning.

# %%
if corpus.truth:
    precision = corpus.truth["precision"][data.rows("test")]  # (n, m)
    trivial = {}
    for column, m in enumerate(data.modalities):
        if m != "text" and m in corpus.sequences:
            there = test.present[:, column]
            noise = test.x[m][there, test.dims[m] // 2 :].mean(axis=1)  # the second half: sds
            guesses = {"- mean of the sds": -noise, "DAF's weight": alpha[there, column]}
            trivial[m] = {
                name: spearmanr(guess, precision[there, column]).statistic
                for name, guess in guesses.items()
            }
    display(pd.DataFrame(trivial).T.round(2))

# %%
if corpus.truth:
    grid = [[spearmanr(alpha[:, i], truth[:, j]).statistic for j in range(3)] for i in range(3)]
    figure = plots.heatmap(np.array(grid), data.modalities, data.modalities)
    figure.axes[0].set(xlabel="true precision share of", ylabel="DAF's weight of")
    figure.axes[0].set_title("Weights and true shares, rank correlation")
    _ = plots.save(figure, "04_truth", run)
    own = np.diag(grid)  # each weight with the precision of its own modality
    print(f"On the diagonal: {own.min():.2f} to {own.max():.2f}.")

# %% [markdown]
# **Negative control.** In this corpus every utterance has the same informativeness, so a fixed
# weighting is optimal. DAF must not be better than the static rule there, except by chance.

# %%
if corpus.truth:
    control = load("synthetic", control=True, n=2000)
    flat = features.build(control, data.modalities, **states)
    flat_test = flat.take(flat.rows("test"))
    steady = {}
    for rule in ("static", "daf"):
        settings = tune.settings(dataset, data.modalities, rule, encoder)
        steady[rule] = train.fit(flat, settings, range(seeds)).predict(flat_test)
    mae = {rule: np.abs(p.score - flat_test.label).mean() for rule, p in steady.items()}
    spread = [p.weights.std(axis=1).mean() for p in (steady["daf"], daf)]
    print("MAE on the control:", {rule: round(float(value), 3) for rule, value in mae.items()})
    print("sd of the weights over utterances: control {:.2f}, corpus {:.2f}".format(*spread))
    assert mae["daf"] > mae["static"] - 0.02

# %% [markdown]
# ### Where people judged each modality alone
#
# CH-SIMS has four labels an utterance: $M$ of the whole, and $T$, $A$, $V$ by people who had its
# text, voice or face alone. These labels give a truth for weights on real data. Where $|T - M|$ is
# large, the text misleads, and its weight should be small. The embedded corpus has the same
# distances: $|e_m - y|$, with the evidence $e_m$ in the place of $T$, $A$ and $V$. This use of the
# labels is our reading.
#
# The measure is Spearman's correlation of weight and distance, in each modality, with an interval
# for other groups and seeds. An unclear modality can be right by luck, so even the true weights
# (`best`) stay far from -1. We do not have CH-SIMS. With its files, `make run RUN=sims
# PARAMS=papermill_runs/params/sims.yaml ONLY=04_daf_interpretability` makes this section for it.

# %%
distance = interpret.distances(corpus.take(data.rows("test")), data.modalities)  # (n, m)
if distance is not None:
    at = (distance, test.present, test.groups)
    farther = interpret.by_distance(daf.weights, *at).set_index(pd.Index(data.modalities))
    if corpus.truth:
        farther["best"] = interpret.by_distance(truth[None], *at)["rank_corr"].to_numpy()
        assert (farther["ci_high"] < 0).all()
    display(farther.round(2))

# %%
STEPS, NAMES = [0, 0.5, 1, 2, 6], ("0 to .5", ".5 to 1", "1 to 2", "2 to 6")
if distance is not None:
    by_step = {}
    for column, m in enumerate(data.modalities):
        there = test.present[:, column]
        step = pd.cut(distance[there, column], STEPS, include_lowest=True)
        by_step[m] = pd.Series(alpha[there, column]).groupby(step, observed=False).mean()
    figure = plots.curves(NAMES, by_step, xlabel="distance from the whole", ylabel="mean weight")
    figure.axes[0].set_title("DAF's weight of a modality by how far the modality alone misleads")
    _ = plots.save(figure, "04_distance", run)
    for m, line in by_step.items():
        print(
            f"weight of {m}, from near the whole to far: {line.iloc[0]:.2f} to {line.iloc[-1]:.2f}"
        )

# %% [markdown]
# <a id="2--weights-by-sentiment-intensity"></a>
#
# ## 2 · Weights by sentiment intensity
#
# Does DAF weigh the modalities differently where the sentiment is strong? |label| is its strength.

# %%
edges = [0, 0.25, 1, 2, 3]
figure = plots.weights(alpha, np.abs(test.label), data.modalities, bins=edges, xlabel="|label|")
_ = plots.save(figure, "04_intensity", run)
by_size = interpret.by_bins(np.abs(test.label), alpha, edges)
low, *_, high = by_size.iloc[:, 1]  # of the first modality
way = "rises" if high > low else "falls"
print(f"From weak to strong sentiment, the weight of {data.modalities[0]} {way}: ", end="")
print(f"{low:.2f} to {high:.2f}.")

# %%
interpret.by_bins(np.abs(test.label), alpha, edges).set_axis(
    ["|label|", *data.modalities, "n"], axis=1
)

# %% [markdown]
# <a id="3--weights-by-confidence-and-by-conflict"></a>
#
# ## 3 · Weights by confidence and by conflict
#
# **Confidence** in an utterance is high if the seeds agree (our definition): `doubt` in the table
# is the standard deviation of the score over seeds. **Conflict** is the range of the opinions of
# the present modalities. A summary of the paper compares high with low confidence. We add conflict,
# since only there the weights change the score much.

# %%
doubt = daf.score.std(axis=0)  # (n,)
disagreement = interpret.conflict(daf.opinions, test.present)  # (n,)
evenness = np.nan_to_num(interpret.entropy(daf.weights, test.present)).mean(axis=0)  # (n,)


# %%
def describe(part: np.ndarray) -> dict[str, float]:
    """Mean weights, entropy and error of some utterances."""
    error = np.abs(daf.score[:, part] - test.label[part]).mean()
    means = dict(zip(data.modalities, alpha[part].mean(axis=0), strict=True))
    return {**means, "entropy": evenness[part].mean(), "MAE": error, "n": part.sum()}


# %%
summary = {}
for name, values in (("doubt", doubt), ("conflict", disagreement)):
    low, high = np.quantile(values, [0.25, 0.75])
    summary[f"low {name}"] = describe(values <= low)
    summary[f"high {name}"] = describe(values >= high)

# %%
pd.DataFrame(summary).T.round(2)

# %%
figure = plots.weights(
    alpha, disagreement, data.modalities, bins=5, xlabel="conflict: range of opinions"
)
_ = plots.save(figure, "04_conflict", run)
low, high = (summary[f"{end} conflict"]["MAE"] for end in ("low", "high"))
print(f"The error is {low:.2f} in the quarter of least conflict, {high:.2f} in that of most.")

# %% [markdown]
# **One modality against all others.** In `n` utterances (mean over seeds) one modality's opinion
# has the opposite sign to all others'. The table has its weight there and elsewhere, how often the
# score takes its side (`followed`), and how often it is right. A fusion that relies on a modality
# too much follows it more often than it is right.

# %%
against = interpret.contradicted(daf, test)
against.round(2)

# %% [markdown]
# **Emotional complexity.** A summary of the paper asks how weights depend on it. On the embedded
# corpus our measure is the range of the true evidence of the modalities. CMU-MOSEI's `.csd` files
# and pickles with all labels name six emotions, so there the measure is the number of emotions that
# people perceived. CMU-MOSI and MMMO have neither, and the table is left out.

# %%
rows, complexity = data.rows("test"), None

# %%
if corpus.truth:
    evidence = np.where(test.present, corpus.truth["evidence"][rows], np.nan)
    complexity = np.nanmax(evidence, axis=1) - np.nanmin(evidence, axis=1)  # (n,)
    steps = [-0.01, 1, 2, 4, 6]
elif set(EMOTIONS) <= set(corpus.annotations):
    heard = [corpus.annotations[name][rows] > 0 for name in EMOTIONS]
    complexity, steps = np.sum(heard, axis=0), [-1, 0, 1, 2, 6]  # (n,)

# %%
if complexity is not None:
    levels = pd.cut(complexity, steps)
    by_level = pd.DataFrame(
        {
            "entropy": evenness,
            "largest weight": alpha.max(axis=1),
            "MAE": np.abs(daf.score - test.label).mean(axis=0),
        }
    )
    display(by_level.groupby(levels, observed=True).agg(["mean", "size"]).round(2))

# %% [markdown]
# <a id="4--entropy"></a>
#
# ## 4 · Entropy
#
# How evenly is the weight spread? The entropy $H(\alpha) / \log M$ is 1 for uniform weights and 0
# if one modality has all the weight. The cell prints its quantiles, and how often each modality has
# the largest weight.

# %%
deciles = np.nanquantile(interpret.entropy(daf.weights, test.present), [0.1, 0.5, 0.9])
share_top = pd.Series(daf.weights.argmax(-1).ravel()).value_counts(normalize=True).sort_index()
print("entropy, 10 / 50 / 90 %:", deciles.round(2))
print("largest weight:", {data.modalities[m]: round(float(x), 2) for m, x in share_top.items()})

# %% [markdown]
# <a id="5--faithfulness"></a>
#
# ## 5 · Faithfulness
#
# If weights explain the score, the score must depend on them: when a modality is hidden, shuffled
# or contradicted, the score should change more where its weight was large. The measure is
# Spearman's correlation over utterances between the weight and $|\hat y_\text{damaged} - \hat y|$.
# The static rule's weights do not vary, so its rank correlation, the baseline, is 0 by definition.

# %%
faithful = interpret.faithfulness(fits["daf"], test)
faithful.round(2)

# %%
if dataset == "synthetic":
    assert (faithful["rank_corr"] > 0.2).all()
missing = faithful.query("how == 'missing'")

# %%
print(
    "mean rank correlation of weight and change when hidden:", missing["rank_corr"].mean().round(2)
)

# %% [markdown]
# <a id="6--single-utterances-as-a-table"></a>
#
# ## 6 · Single utterances, as a table
#
# A user gets the score, the weights (`alpha`) and the opinions (`o`). Here are the three test
# utterances with the largest conflict, with their words if the corpus is the embedded one.

# %%
most = np.argsort(-disagreement)[:3]
shown = pd.DataFrame(
    {"label": test.label[most], "score": daf.score.mean(0)[most]}, index=[test.ids[i] for i in most]
)

# %%
for k, m in enumerate(data.modalities):
    shown[f"alpha {m}"], shown[f"o {m}"] = alpha[most, k], daf.opinions.mean(0)[most, k]
if corpus.truth:
    print(*[corpus.text[i] for i in data.rows("test")[most]], sep="\n")
shown.round(2)

# %% [markdown]
# <a id="7--the-papers-failure-signatures-as-a-diagnosis"></a>
#
# ## 7 · The paper's failure signatures, as a diagnosis
#
# A summary of the paper names three ways in which such a fusion fails. The weights collapse to
# uniform ones, the model relies on one modality, or the scorer does not notice misaligned or noisy
# input. The thresholds are ours (`mmlib.daf.interpret.diagnosis`).

# %%
report = interpret.diagnosis(fits["daf"], test)
report.round(3)

# %% [markdown]
# **Check: the alarms can be raised.** The same diagnosis of a static fusion raises the alarm of
# constant weights, as it must.

# %%
rings = interpret.diagnosis(fits["static"], test).set_index("signature")["alarm"]
assert rings["constant weights"]
rings[rings].index.tolist()

# %%
spread = pd.DataFrame({"mean": alpha.mean(axis=0), "sd": alpha.std(axis=0)}, data.modalities)

# %%
tables = {
    "weights": spread.rename_axis("modality").reset_index(),
    "intensity": interpret.by_bins(np.abs(test.label), alpha, edges).astype({"bin": str}),
    "confidence": pd.DataFrame(summary).T.rename_axis("utterances").reset_index(),
    "entropy": pd.DataFrame({"quantile": [0.1, 0.5, 0.9], "entropy": deciles}),
    "faithfulness": faithful,
    "contradicted": against,
    "diagnosis": report,
}
if distance is not None:
    tables["distance"] = farther.rename_axis("modality").reset_index()

# %%
given = dict(dataset=dataset, modalities=modalities, leak=leak, seeds=seeds, **states)
results.save([], run, "04_daf_interpretability", parameters=given, checksums=dict(corpus.checksums))
for name, table in tables.items():
    results.save_table(table.rename(columns=str), run, f"04_{name}")
print(f"{len(tables)} tables")

# %% [markdown]
# <a id="8--real-data"></a>
#
# ## 8 · Real data
#
# Here are the same tables from the stored runs with 20 seeds: CMU-MOSI with text and audio (`mosi`
# with MiniLM, `mosi-mpnet` with MPNet), MMMO with audio and vision. Nobody knows the true weights
# there, so we have only faithfulness and the diagnosis. Each run begins with DAF's error and that
# of the constant: the weights of a model that is no better than a constant explain nothing. On
# MOSI, look at `rank_corr` of a hidden (`missing`) modality. It is higher for audio than for text,
# so the weight of text says less about the score. Shuffled audio hardly changes the score
# (`change`).

# %%
for name in ("mosi", "mosi-mpnet", "mmmo"):
    if name not in results.runs():
        continue
    known = results.load(name).query("notebook == '03_daf_ablations' and metric == 'mae'")
    known = known[known["model"].isin(["daf", "constant"]) & known["variant"].isin(["ta", "av"])]
    low, high = known.set_index("model").loc["daf", ["ci_low", "ci_high"]]
    base = known.set_index("model").loc["constant", "mean"]
    print(
        f"{name}: MAE of DAF [{low:.2f}, {high:.2f}], of the constant {base:.2f};",
        "better" if high < base else "no better than the constant",
    )
    for kind in ("weights", "faithfulness", "contradicted", "diagnosis"):
        stored = results.load_table(name, f"04_{kind}")
        if len(stored):
            print(f"{name}, {kind}")
            display(stored.round(2))

# %% [markdown]
# <a id="takeaways"></a>
#
# ## Takeaways

# %%
alarms = report.loc[report["alarm"], "signature"].tolist()
top = data.modalities[int(alpha.mean(axis=0).argmax())]
print(f"On {dataset}, {seeds} seeds: largest mean weight {top} ({alpha.mean(0).max():.2f}).")
print(f"Faithfulness (hidden): {missing['rank_corr'].mean():.2f}. Alarms: {alarms or 'none'}.")

# %%
if corpus.truth:
    print(f"Rank correlation with the truth, pooled: {ranks[:, -1].mean():.2f}.")
    for start in closed.index:
        share = closed.loc[start, "oracle"]
        print(
            f"Share of the gap to the oracle closed, from {start}: {share:.0%}; "
            f"the goal of 70 % is {'met' if share >= 0.7 else 'NOT met'}."
        )

# %% [markdown]
# The opinions make the weights readable: without the affine head, a large weight could multiply an
# embedding that contributes nothing. What we worked from has examples and no measure, so no
# published number can be reproduced here. Next: [`08_results`](08_results.ipynb).

# %% [markdown]
# <a id="exercises"></a>
#
# ## Exercises
#
# Each takes a few lines below the last cell. The solutions run as they are.
#
# **1.** Is the error smaller where one weight is large?
#
# <details><summary>Solution</summary>
#
# ```python
# wrong = np.abs(daf.score - test.label).mean(axis=0)  # (n,)
# print(f"rank correlation {spearmanr(alpha.max(axis=1), wrong).statistic:.2f}")
# ```
#
# </details>
#
# **2.** How often does the modality with the strongest opinion also have the largest weight?
#
# <details><summary>Solution</summary>
#
# ```python
# strongest = np.nan_to_num(np.abs(daf.opinions)).mean(axis=0).argmax(axis=1)  # (n,)
# print(f"{(strongest == alpha.argmax(axis=1)).mean():.0%}")
# ```
#
# </details>
#
# **3.** Do two seeds give the same utterances the same weight of text?
#
# <details><summary>Solution</summary>
#
# ```python
# print(np.corrcoef(daf.weights[:2, :, 0])[0, 1].round(2))
# ```
#
# </details>
