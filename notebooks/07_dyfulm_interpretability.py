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
# # 07 · What gate, layers and guidance learned
#
# ![Gate values on hotel reviews, before and after training](../figures/hotel-mpnet/07_gate.png)
#
# The picture has the gate between frozen MiniLM (A) and MPNet (B). Before training most of its
# values are near one half; after training they spread over the whole range from 0 to 1. This
# notebook takes under a minute on a CPU, with generated reviews. The
# [paper](https://arxiv.org/abs/2512.01410) explains its gains by layer fusion, gate and guidance;
# what we worked from shows no gate value, layer weight or gradient. For each we state the claim as
# we read it, and a **measure** of ours. Where we can, we compare with an untrained model. A
# diagnosis closes the notebook.
#
# Before this: [`05_dyfulm`](05_dyfulm.ipynb), [`06_dyfulm_ablations`](06_dyfulm_ablations.ipynb).
# After it: [`08_results`](08_results.ipynb).
#
# **Contents**
#
# - [1 · Has the gate collapsed?](#1--has-the-gate-collapsed)
# - [2 · Which words open the gate](#2--which-words-open-the-gate)
# - [3 · Which layers](#3--which-layers)
# - [4 · Do the three tasks agree?](#4--do-the-three-tasks-agree)
# - [5 · The guidance](#5--the-guidance)
# - [6 · The diagnosis](#6--the-diagnosis)
# - [7 · Real reviews](#7--real-reviews)
# - [Takeaways](#takeaways)
# - [Exercises](#exercises)

# %% tags=["parameters"]
dataset: str = "synthetic_reviews"  # synthetic_reviews | hotel | sst5 | mosei | mosi: which reviews
text_column: str = ""  # of a table of one's own (dataset: its path); "": found by its usual name
label_column: str = ""  # likewise; numbers, or five words: very negative to very positive
classes: str = ""  # words of the labels, the most negative first: "bad, fair, good"; "": usual ones
group_column: str = ""  # whose rows stay in one split (a hotel, say); "": each row is alone
utterances: int = 1000  # at most so many; 0: all of them
train_reviews: int = 0  # at most so many of train + valid, at random; 0: all of them
encoder_a: str = "minilm"  # the first encoder: minilm, a hub id or a folder
encoder_b: str = "small"  # the second: small (made here), carried, a hub id or a folder
intensity: str = "label"  # label | lexicon | lexicon_sentences: where the intensity comes from
max_length: int = 128  # tokens; longer texts are cut, and counted
dtype: str = "float32"  # what the encoders compute in; bfloat16 is faster where there is hardware
seeds: int = 3  # models trained at once; the stored runs use 3 to 20
run: str = "interactive"  # folder under papermill_runs that receives the diagnosis

# %%
import json
from collections import Counter
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd

from mmlib.data import load
from mmlib.data.load import columns
from mmlib.data.targets import FINE, targets
from mmlib.dyfulm import bag_of_words, frozen, interpret, tune
from mmlib.figures import plots
from mmlib.files import RUNS
from mmlib.scores import results
from mmlib.text import made

plots.style()
pd.set_option("display.precision", 3, "display.width", 110)

# %%
own = columns(text=text_column, label=label_column, group=group_column, classes=classes)
corpus = load(dataset, **own).sample(utterances)
corpus = corpus.sample(train_reviews, splits=("train", "valid"))
goal = targets(corpus, intensity)
words = [corpus.text[i] for i in corpus.rows("train")]
folders = [made.named(name, words) for name in (encoder_a, encoder_b)]

# %%
data = frozen.states(corpus, *folders, max_length=max_length, dtype=dtype)
test, known = data.take(data.rows("test")), goal.take(data.rows("test"))
{"A": data.x["a"].shape[1:], "B": data.x["b"].shape[1:], "test": len(test)}

# %% [markdown]
# We train three models: the full model, whose gradients are recorded; the same without layer
# fusion; and one with a learning rate near zero, the untrained baseline.

# %%
pull = interpret.Gradients(data, goal, every=5)
base = tune.settings(dataset, encoder_a, encoder_b)
full = frozen.fit(data, goal, base, range(seeds), on_step=pull)
last = frozen.fit(data, goal, replace(base, shape={"layer_fusion": "last"}), range(seeds))
start = frozen.fit(data, goal, replace(base, lr=1e-8, epochs=1), range(seeds))

# %%
said, before = full.predict(test), start.predict(test)
said.gate.shape, said.alpha_a.shape  # (s, n, h), (s, n, l)

# %% [markdown]
# <a id="1--has-the-gate-collapsed"></a>
#
# ## 1 · Has the gate collapsed?
#
# The claim: the gate blends adaptively. It fails if all values are near .5, since the gate is then
# an average. **Measure**: the share of gate values within .05 of .5 (`near_half`). A gate can also
# be far from .5 and still the same for every review. So the table also has two standard deviations:
# of a unit over reviews (`sd_inputs`, mean over units), and of the units' means (`sd_units`).
# `open_a` and `open_b` are the shares above .9 and below .1.

# %%
pd.concat(
    {
        "trained": interpret.gates(said.gate).mean(),
        "untrained": interpret.gates(before.gate).mean(),
    },
    axis=1,
).T.round(2)

# %%
near, near_start = (interpret.near_half(part.gate) for part in (said, before))
assert near < near_start or dataset != "synthetic_reviews", "training moves the gate from .5"
spread, spread_start = (interpret.gates(p.gate)["sd_inputs"].mean() for p in (said, before))
print(f"A unit's sd over reviews is {spread:.2f} after training, {spread_start:.2f} before.")

# %%
figure = plots.distribution(
    {"untrained": before.gate, "trained": said.gate},
    bins=40,
    band=(0.45, 0.55),
    xlabel="gate: 0 all B, 1 all A",
)
found = f"{near_start:.0%} of the values before training, {near:.0%} after"
figure.axes[0].set_title(f"Within .05 of one half (grey): {found}")
_ = plots.save(figure, "07_gate", run)
print(f"Within .05 of one half: {near_start:.0%} before training, {near:.0%} after.")

# %% [markdown]
# <a id="2--which-words-open-the-gate"></a>
#
# ## 2 · Which words open the gate
#
# The model, trained on whole reviews, reads each frequent word of the generated test reviews alone.
# Where the mean gate over units and seeds is high, it relies on encoder A. A wider range over words
# than the untrained model's comes from training; which words are first is not tested. Section 7 has
# words in context.

# %%
if dataset == "synthetic_reviews":
    count = Counter(
        word.strip(".,") for i in corpus.rows("test") for word in corpus.text[i].split()
    )
    frequent = tuple(word for word, n in count.items() if n >= 20 and word.isalpha())
    many = len(frequent)
    alone = replace(corpus, text=frequent, ids=frequent, groups=frequent, truth={})
    alone = replace(alone, split=np.repeat("test", many), label=np.zeros(many))
    read = frozen.states(alone, *folders, scaler=data.scaler, max_length=max_length, dtype=dtype)
    opened, chance = (fit.predict(read).gate.mean(axis=(0, 2)) for fit in (full, start))  # (words,)
    table = interpret.by_word(frequent, opened, least=1)
    print("to A:", ", ".join(table.index[:8]))
    print("to B:", ", ".join(table.index[-8:]))
    for name, values in (("trained", opened), ("untrained", chance)):
        print(f"{name}: {many} words from {values.max():.2f} to {values.min():.2f}")

# %% [markdown]
# <a id="3--which-layers"></a>
#
# ## 3 · Which layers
#
# The claim: the mixture uses several layers of the encoders. It fails if one layer has all the
# weight. **Measure**: the largest layer weight, averaged over reviews. 1 is a single layer;
# `uniform` is 1 over the number of layers, the embeddings (layer 0) included.

# %%
parts = {"A": (said.alpha_a, before.alpha_a), "B": (said.alpha_b, before.alpha_b)}
top = {
    name: [interpret.largest(alpha) for alpha in both] + [1 / both[0].shape[-1]]
    for name, both in parts.items()
}

# %%
for largest, _, uniform in top.values():
    assert dataset != "synthetic_reviews" or uniform < largest < 0.9
pd.DataFrame(top, index=["trained", "untrained", "uniform"]).round(2)

# %%
for name, (alpha, _) in parts.items():
    rows = pd.DataFrame(alpha.mean(axis=0)).groupby(known.fine).mean()  # (k, l)
    labels = [FINE[k] for k in rows.index]
    layer_names = [f"layer {k}" for k in rows.columns]
    limits = (0, max(2 / len(layer_names), rows.to_numpy().max()))
    figure = plots.heatmap(
        rows.to_numpy(), labels, layer_names, label="layer weight", limits=limits
    )
    heaviest = layer_names[int(rows.mean().to_numpy().argmax())]
    mean = f"{rows.mean().max():.2f} as the mean of the classes"
    found = f"Encoder {name}: {heaviest} has the largest weight, {mean}"
    figure.axes[0].set_title(f"{found}\n(uniform: {1 / len(layer_names):.2f})", loc="left")
    _ = plots.save(figure, f"07_layers_{name.lower()}", run)
    print(f"{found}.")

# %% [markdown]
# <a id="4--do-the-three-tasks-agree"></a>
#
# ## 4 · Do the three tasks agree?
#
# Do the tasks pull the shared parameters the same way? **Measure**: the cosine between their
# gradients on fixed training reviews, every fifth step (1: together, 0: unrelated, below 0: against
# each other). `norm_` is a gradient's norm before the dynamic loss weighs the task, so "pulls most"
# below is before weighing too.

# %%
course = pull.table
cosines = [name for name in course if name.startswith("cos_")]
lines = {name[4:].replace("_", " and "): course[name] for name in cosines}
means = course[cosines].mean()
found = f"Lowest mean cosine: {means.idxmin()[4:].replace('_', ' and ')}, {means.min():.2f}"
ylabel = "cosine of the gradients\n(below 0: against each other)"
figure = plots.curves(course.index, lines, xlabel="step", ylabel=ylabel)
figure.axes[0].axhline(0, color="black", linewidth=1)
figure.axes[0].set_title(found)
_ = plots.save(figure, "07_cosines", run)
print(f"{found}.")

# %%
norms = [name for name in course if name.startswith("norm_")]
third = len(course) // 3

# %%
parts_of = {"first third": course.iloc[:third], "last third": course.iloc[-third:]}
by_third = pd.DataFrame({name: part[cosines + norms].mean() for name, part in parts_of.items()})
by_third.round(2)

# %%
size = by_third.loc[norms, "last third"]
task = size.idxmax().removeprefix("norm_")
print(
    f"In the last third of the steps the {task} task's gradient has the largest mean norm:", end=" "
)
print(f"{size.max():.2f} (not tested).")

# %% [markdown]
# <a id="5--the-guidance"></a>
#
# ## 5 · The guidance
#
# The claim: coarse class and intensity recalibrate the fine head. It fails if gradients on that
# path are near zero. **Measures**: the fine loss's gradient at the guidance, as a share of that at
# the fine head; the fine classes that change with the guidance held at 1.

# %%
plain = interpret.unguided(full, test)
changed = (said.fine != plain.fine).mean()
right = [(part.fine == known.fine).mean() for part in (said, plain)]
print(f"gradient at the guidance: {course['guidance'].median():.2f} of the fine head's")

# %%
print(
    f"The guidance changes {changed:.1%} of the fine classes. Accuracy {right[0]:.2f}; "
    f"with the guidance held at 1, {right[1]:.2f} (not tested; 06 trains without guidance)."
)

# %% [markdown]
# <a id="6--the-diagnosis"></a>
#
# ## 6 · The diagnosis
#
# The column `threshold` says when an alarm is raised. The thresholds are ours and lenient:
# an alarm means that a part has nearly stopped working. No alarm does not mean that a module helps:
# [06](06_dyfulm_ablations.ipynb) tests that. A gap between coarse and fine accuracy may come from
# the labels, so the gap of a bag of words, which has no guidance, is subtracted. The alarm
# `intensity not learned, classes are` is raised if the fine classes beat the most frequent class by
# more than .1, while the intensity's error is above .9 of the best constant's.

# %%
bag = bag_of_words.learn(corpus, goal).predict(corpus.take(data.rows("test")))
report = interpret.diagnosis(full, test, known, last, course, bag)
report.round(3)

# %%
raised = report.loc[report["alarm"], "signature"].tolist()
print(f"{len(raised)} of {len(report)} alarms:", ", ".join(raised) or "none")

# %% [markdown]
# **Check: every alarm can be raised**, by the untrained model or by a part broken on purpose. An
# alarm that cannot be raised says nothing when it is silent.

# %%
alike, apart = ({f"fusion.{x}.w.weight": value for x in "ab"} for value in (0, 1e4))
constant = {f"intensity.{name}": 0 for name in ("weight", "bias")}

# %%
BROKEN = {
    "untrained": (start, {}, ["gate stuck near .5", "guidance idle"]),
    "gate open to A": (full, {"gate.weight": 0, "gate.bias": 5}, ["gate ignores its input"]),
    "layers alike": (full, alike, [f"layers of {x} ignore the input" for x in "AB"]),
    "layers far apart": (full, apart, [f"one layer of {x} is all" for x in "AB"]),
    "intensity at .5": (full, constant, ["intensity not learned, classes are"]),
    "fine head off": (full, {"fine.weight": 0}, ["coarse far above fine"]),
}
tried = set()
is_default = dataset == "synthetic_reviews" and len(corpus) >= 1000 and max_length >= 128

# %%
for name, (fit, values, expected) in BROKEN.items():
    model = deepcopy(fit.model)
    for parameter, value in values.items():
        model.get_parameter(parameter).data.fill_(value)
    found = interpret.diagnosis(replace(fit, model=model), test, known, bag=bag)
    rings = set(found.loc[found["alarm"], "signature"])
    assert not is_default or set(expected) <= rings, (name, rings)
    tried |= rings & set(expected)
    print(f"{name}: {', '.join(sorted(rings))}")

# %% [markdown]
# Two kinds of alarm need something besides this model's predictions: the gradients of a training,
# and a second model. For the guidance's gradients we train
# with the fine head's weights at 0, so that no gradient reaches the guidance. For the gain by layer
# fusion we compare the model with itself. In both cases the value is 0 by construction, so this
# checks only that the rule reads it.

# %%
silent = interpret.Gradients(data, goal, every=1)


def without_fine_head(step, learner):
    """Measure the gradients of a step with the fine head's weights at 0."""
    learner.model.fine.weight.data.zero_()
    silent(step, learner)


# %%
_ = frozen.fit(data, goal, replace(base, epochs=1), range(seeds), on_step=without_fine_head)
found = interpret.diagnosis(full, test, known, full, silent.table, bag)
expected = {"guidance gradients near zero", "layer fusion without effect"}
tried |= expected & set(found.loc[found["alarm"], "signature"])

# %%
assert not is_default or tried == set(report["signature"])
print(f"{len(tried)} of {report['signature'].nunique()} kinds of alarm were raised on purpose")

# %%
used = dict(
    dataset=dataset,
    utterances=utterances,
    train_reviews=train_reviews,
    encoder_a=encoder_a,
    encoder_b=encoder_b,
    intensity=intensity,
    max_length=max_length,
    dtype=dtype,
    seeds=seeds,
    **own,
)

# %%
results.save(
    [], run, "07_dyfulm_interpretability", parameters=used, checksums=dict(corpus.checksums)
)
_ = results.save_table(report, run, "diagnosis")

# %% [markdown]
# <a id="7--real-reviews"></a>
#
# ## 7 · Real reviews
#
# **Frozen encoders**: this notebook's diagnosis of four stored runs
# ([commands](book/finetuning.md)). Encoder A is MiniLM. Encoder B is MPNet, in `sst5` a small one
# made from the sentences, in `hotel-frozen` one that has learned on SST-5. `!` marks an alarm.

# %%
FROZEN = ("sst5", "sst5-mpnet", "hotel-frozen", "hotel-mpnet")
kept = {name: results.load_table(name, "diagnosis") for name in FROZEN}
lines = pd.concat({name: table for name, table in kept.items() if len(table)} or {"none": report})
lines["text"] = lines["value"].map("{:.3f}".format) + lines["alarm"].map({True: " !", False: ""})
lines = lines.rename_axis(["run", None]).reset_index("run")
lines.pivot(index=["signature", "measure", "threshold"], columns="run", values="text").fillna("")

# %%
for name, table in lines.groupby("run"):
    print(f"{name}, alarms:", ", ".join(table.loc[table["alarm"], "signature"]) or "none")
    idle = table.set_index("signature").loc["guidance idle", "value"]
    print(f"  the guidance changes {idle:.1%} of the fine classes; below 1 % it would be idle")

# %% [markdown]
# **Encoders fine-tuned** ([how](book/finetuning.md)): gate values of every token and unit. `hotel`
# has 31,053 training reviews, all 5,531 test reviews and 5 seeds; `scope` has 3,000 of each and 3
# seeds. Brackets: lowest and highest seed.

# %%
found = {name: RUNS / name / "inside.json" for name in ("hotel", "scope")}
inside = {
    name: json.loads(path.read_text())["dyfulm"] for name, path in found.items() if path.exists()
}
real = {}

# %%
for name, one in inside.items():
    gate = np.array(one["gate"])  # (s, 20): share in each twentieth of (0, 1)
    real[name] = {
        "gate within .05 of .5": gate[:, 9:11].sum(axis=1),
        "gate below .25": gate[:, :5].sum(axis=1),
        "gate above .75": gate[:, 15:].sum(axis=1),
        "largest layer weight, A": np.array(one["largest_a"]),
        "largest layer weight, B": np.array(one["largest_b"]),
        "uniform layer weight": np.array([1 / len(one["alpha_a"][0])]),
    }

# %%
pd.DataFrame(
    {
        name: {
            measure: f"{v.mean():.2f} [{v.min():.2f}, {v.max():.2f}]" for measure, v in rows.items()
        }
        for name, rows in real.items()
    }
)

# %%
if inside:
    middle = (np.arange(20) + 0.5) / 20
    shares = {name: np.mean(one["gate"], axis=0) for name, one in inside.items()}
    figure = plots.curves(
        middle, shares, xlabel="gate of a unit at a token: 0 all B, 1 all A", ylabel="share per .05"
    )
    figure.axes[0].set_ylim(0)
    near_half = ", ".join(f"{name} {share[9:11].sum():.0%}" for name, share in shares.items())
    figure.axes[0].set_title(f"Gate values within .05 of one half: {near_half}")
    _ = plots.save(figure, "07_gate_tokens", run)
    for name, share in shares.items():
        print(f"{name}: {share[9:11].sum():.0%} of the gate's values lie within .05 of one half.")

# %% [markdown]
# In both runs no layer dominates. The largest layer weight of a review is .22 at most, on average
# over reviews; a uniform one is .14. In encoder B layers 4 and 5 weigh about twice as much as layer
# 0.
#
# **Words in context**: the words with the highest and lowest mean gate, of those that occur at
# least 50 times in the test reviews. The mean is over units, places and seeds. The run `hotel` did
# not keep them.

# %%
for name, one in inside.items():
    for end in ("a", "b") if "to_a" in one else ():
        words = ", ".join(f"{word} {gate:.2f}" for word, gate, _ in one[f"to_{end}"])
        print(f"{name}, to {end.upper()}: {words}")

# %% [markdown]
# The means of these words lie within .03 of each other. Whether they differ is not tested. Gates of
# single units were not stored by word.

# %%
for name, one in inside.items():
    if "to_a" in one:
        most, least = one["to_a"][0][1], one["to_b"][0][1]
        assert most - least < 0.05
        print(f"{name}: the mean gate of a word lies between {least:.3f} and {most:.3f}")

# %% [markdown]
# <a id="takeaways"></a>
#
# ## Takeaways

# %%
alarms = report.loc[report["alarm"], "signature"].tolist()
print(
    f"On {dataset}, {seeds} seeds: {near:.0%} of the gate's values are within .05 of one half "
    f"({near_start:.0%} before training)."
)

# %%
print(
    f"Largest layer weight: A {top['A'][0]:.2f} (uniform {top['A'][2]:.2f}), B "
    f"{top['B'][0]:.2f} (uniform {top['B'][2]:.2f})."
)
print(f"Alarms: {', '.join(alarms) or 'none'}.")

# %%
for name, rows in real.items():
    print(f"{name}, fine-tuned:", ", ".join(f"{k} {v.mean():.2f}" for k, v in rows.items()))

# %% [markdown]
# No gate value, layer weight or gradient is published where we could read it. The diagnosis tests
# what the claims predict, as we read them.
#
# Next: [`08_results`](08_results.ipynb).

# %% [markdown]
# <a id="exercises"></a>
#
# ## Exercises
#
# Each takes a few lines below the last cell. The solutions run as they are.
#
# **1.** Widen the band around one half. Does training show at each width?
#
# <details><summary>Solution</summary>
#
# ```python
# for width in (0.02, 0.05, 0.1, 0.2):
#     shares = [(np.abs(part.gate - 0.5) < width).mean().round(2) for part in (before, said)]
#     print(width, "before and after training:", shares)
# ```
#
# </details>
#
# **2.** Does the mean gate differ between the five classes?
#
# <details><summary>Solution</summary>
#
# ```python
# for k, name in enumerate(FINE):
#     print(name, said.gate[:, known.fine == k].mean().round(3))
# ```
#
# </details>
#
# **3.** In which classes does the guidance change the answer?
#
# <details><summary>Solution</summary>
#
# ```python
# moved = (said.fine != plain.fine).mean(axis=0)  # (n,)
# for k, name in enumerate(FINE):
#     print(name, f"{moved[known.fine == k].mean():.0%}")
# ```
#
# </details>
