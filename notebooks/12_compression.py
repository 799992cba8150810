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
# # 12 · Compression: how small may DyFuLM be?
#
# ![DyFuLM: two encoders, mixed layers, a gate, three heads](../figures/models/dyfulm.svg)
#
# DyFuLM reads a review with two encoders. Can it be made smaller and keep its accuracy? That is
# open question 3 of [`08_results`](08_results.ipynb): what we worked from reports neither latency
# nor memory. Here we keep one encoder, then remove its upper layers, its rare words and most bits
# of its weights. How much accuracy does each step cost? And does a small model, the student, gain
# by learning from a larger one, its teacher? The result is *the kept model*, whose weights come
# with the project.
#
# All these ways to compress are **our choice**; what we worked from names none. The notebook takes
# about a minute on a CPU with the embedded reviews, which are generated.
#
# Before this: [`05_dyfulm`](05_dyfulm.ipynb), [`06_dyfulm_ablations`](06_dyfulm_ablations.ipynb).
# After it: [`13_your_texts`](13_your_texts.ipynb), which uses the kept model.
#
# Paper: [arXiv 2512.01410](https://arxiv.org/abs/2512.01410)
#
# **Contents**
#
# - [What a layer costs](#1--what-a-layer-costs)
# - [Depth and accuracy, on a small scale](#2--depth-and-accuracy-on-a-small-scale)
# - [A smaller vocabulary](#3--a-smaller-vocabulary)
# - [Are the probabilities calibrated?](#4--are-the-probabilities-calibrated)
# - [Fewer bits](#5--fewer-bits)
# - [The same on hotel reviews](#6--the-same-on-hotel-reviews)
# - [A teacher](#7--a-teacher)
# - [The verdict on open question 3](#8--the-verdict-on-open-question-3)
# - [Takeaways](#takeaways)
# - [Exercises](#exercises)

# %% tags=["parameters", "long"]
dataset: str = "synthetic_reviews"  # synthetic_reviews | hotel | sst5: which reviews
utterances: int = 600  # at most so many; 0: all of them
encoder: str = "minilm"  # minilm, a hub id or a folder: what is made shallower
depths: str = "1 2 3"  # how many of its layers are left
epochs: int = 2  # of fine-tuning
max_length: int = 64  # tokens; longer texts are cut
stored: str = "compression-hotel"  # the stored run that is shown below
distilled: str = "compression-sst5"  # the stored run of students with and without a teacher
run: str = "interactive"  # folder under papermill_runs that receives the rows

# %%
import sys
import tempfile
from contextlib import redirect_stderr
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

# %%
from mmlib.data import load
from mmlib.data.targets import Targets, constant, targets
from mmlib.dyfulm import bag_of_words, kept
from mmlib.dyfulm.model import Output
from mmlib.figures import plots
from mmlib.finetune import distillation
from mmlib.finetune.config import Config
from mmlib.finetune.run import finetune
from mmlib.scores import calibration, results
from mmlib.scores.metrics import all_scores
from mmlib.scores.stats import p_text
from mmlib.text import compressed, made, vocabulary
from mmlib.text.encoder import load as load_encoder

plots.style()
pd.set_option("display.precision", 3, "display.width", 120)

# %% [markdown]
# <a id="1--what-a-layer-costs"></a>
#
# ## 1 · What a layer costs
#
# A text of $t$ tokens passes $k$ layers. Each layer has width $d$ and inner width $f$. It
# multiplies by four matrices of $d \times d$ and two of $d \times f$, and attention takes two more
# products. With a multiplication and an addition as two operations, the layers need
#
# $$C(k) = 2\,k\,t\,(4 d^2 + 2 d f + 2 t d)$$
#
# operations. The cost is linear in $k$. Embeddings are looked up, so they cost memory and hardly
# any time.


# %%
def operations(k: int, t: int, d: int, f: int) -> int:
    """C(k): operations of k transformer layers on one text of t tokens."""
    return 2 * k * t * (4 * d * d + 2 * d * f + 2 * t * d)


# %% [markdown]
# **Check.** We count the operations of a small model with random weights. The counter does not see
# fused attention, so the model uses the plain kind (`eager`).


# %%
def counted(k: int, t: int, d: int, f: int) -> int:
    """The same, counted."""
    shape = dict(num_hidden_layers=k, hidden_size=d, intermediate_size=f, num_attention_heads=4)
    config = BertConfig(vocab_size=10, attn_implementation="eager", **shape)
    model = BertModel(config, add_pooling_layer=False).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, t, dtype=torch.long))
    return counter.get_total_flops()


# %%
for k, t in ((1, 32), (3, 32), (3, 128)):
    assert abs(counted(k, t, 64, 256) / operations(k, t, 64, 256) - 1) < 0.01, (k, t)

# %%
print("a review of 128 tokens, MiniLM's width, in millions of operations:")
print({k: round(operations(k, 128, 384, 1536) / 1e6) for k in (1, 2, 3, 4, 6)})

# %% [markdown]
# <a id="2--depth-and-accuracy-on-a-small-scale"></a>
#
# ## 2 · Depth and accuracy, on a small scale
#
# We keep the encoder's first layers and train them with DyFuLM's layer fusion, guidance and three
# heads ([glossary](book/intervals.md)). Every depth is trained in the same way. The cheapest model
# is a bag of words. It reads the whole text, while the encoder reads at most `max_length` tokens.

# %%
corpus = load(dataset).sample(utterances)
goal = targets(corpus)

# %%
words = [corpus.text[i] for i in corpus.rows("train")]
source = made.named(encoder, words)

# %%
valid, test = (corpus.take(corpus.rows(split)) for split in ("valid", "test"))
known = {split: goal.take(corpus.rows(split)) for split in ("valid", "test")}


# %%
def trained(k: int, **how: int) -> dict[str, dict[str, np.ndarray]]:
    """What the encoder's first k layers predict of both splits, after fine-tuning."""
    rates = dict(batch=8, lr=3e-4, head_lr=3e-3)  # few reviews: small batches, larger steps
    config = Config([f"{source}:{k}"], dataset, precision="float32", **rates, **how)
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stderr(sys.stdout):  # how many texts were cut
            finetune(config, Path(folder), corpus)
        return {split: dict(np.load(Path(folder) / f"{split}.npz")) for split in ("valid", "test")}


# %%
how = dict(max_length=max_length, epochs=epochs)
if len(layers := sorted({*map(int, depths.split())})) < 2:
    raise ValueError(f"depths={depths!r}: name two or more, e.g. '1 3'")
predictions = {f"{k} layer{'s' * (k > 1)}": trained(k, **how) for k in layers}

# %%
shape = load_encoder(source)[0].config
size = max_length, shape.hidden_size, shape.intermediate_size
cost = {name: operations(int(name.split()[0]), *size) / 1e6 for name in predictions}

# %%
heads = Targets._fields
answers = {name: Targets(*map(p["test"].get, heads)) for name, p in predictions.items()}
answers["tfidf"] = bag_of_words.learn(corpus, goal).predict(test)
answers["constant"] = constant(goal.take(corpus.rows("train")), len(test))

# %%
scores = {name: all_scores(one, known["test"]) for name, one in answers.items()}
table = pd.DataFrame(scores).map(np.mean).T

# %%
table.insert(0, "mega_operations", pd.Series(cost))
plots.labelled(table[["mega_operations", "acc_coarse", "acc_fine", "mae"]].round(2))

# %% [markdown]
# From which depth on does another layer bring little? Scale operations and accuracy (here coarse
# plus fine) to 0..1 and draw a straight line from the cheapest model to the most expensive one. The
# **knee** is the point farthest above that line (Satopää et al. 2011). Below the knee, removing a
# layer costs much; above it, adding one brings little.


# %%
def heights(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Height of each point above the straight line from the first to the last, both scaled."""
    x, y = ((v - v[0]) / (v[-1] - v[0]) if v[-1] != v[0] else v * 0 for v in (cost, accuracy))
    return y - x


def knee(cost: np.ndarray, accuracy: np.ndarray) -> int | None:
    """Index of the knee of an increasing curve; None where no point lies above the line."""
    above = heights(cost, accuracy)
    return int(above.argmax()) if above.max() > 1e-9 and accuracy[-1] > accuracy[0] else None


# %%
assert knee(np.arange(5.0), np.array([0, 0.8, 0.9, 0.95, 1.0])) == 1  # bends at the second point
assert knee(np.arange(5.0), np.arange(5.0)) is None  # a straight line has none


# %%
def frontier(x: np.ndarray, accuracies: dict[str, np.ndarray], names: list[str], xlabel: str):
    """Accuracy against cost, a line a task; the names stand at the points of the first."""
    figure = plots.curves(x, accuracies, xlabel=xlabel, ylabel="accuracy")
    figure.axes[0].margins(0.1, 0.15)
    first = next(iter(accuracies.values()))
    for at, y, name in zip(x, first if first.ndim == 1 else first[:, 0], names, strict=True):
        figure.axes[0].annotate(name, (at, y), (0, 7), textcoords="offset points", ha="center")
    return figure


# %%
depth_names = list(predictions)
x = np.array([cost[name] for name in depth_names])
lines = {head: table.loc[depth_names, f"acc_{head}"].to_numpy(float) for head in ("coarse", "fine")}

bend = knee(x, lines["coarse"] + lines["fine"])
gain = lines["fine"][-1] - lines["fine"][0]

# %%
figure = frontier(x, lines, depth_names, "millions of operations a review")
figure.axes[0].set_title(f"{depth_names[0]} to {depth_names[-1]}: fine accuracy {gain:+.2f}")
_ = plots.save(figure, "12_frontier", run)

# %%
print(
    f"From {depth_names[0]} to {depth_names[-1]}, {x[-1] / x[0]:.0f} times the operations, "
    f"fine accuracy changes by {gain:+.2f}; the bag of words has "
    f"{table.loc['tfidf', 'acc_fine']:.2f}."
)

# %%
print(f"Knee: {depth_names[bend]}." if bend is not None else "No knee: no point above the line.")
place = dict(notebook="12_compression", dataset=dataset, split="test")
ends = [(depth_names[-1], depth_names[0])]
truth = known["test"], test.groups
[paired] = results.comparisons(answers, ends, *truth, metrics=["acc_fine"], **place)
gain_ends = f"[{paired['ci_low']:+.2f}, {paired['ci_high']:+.2f}]"
print(f"{' minus '.join(ends[0])}, {len(test)} test reviews: fine accuracy {gain:+.2f} {gain_ends}")

# %% [markdown]
# <a id="3--a-smaller-vocabulary"></a>
#
# ## 3 · A smaller vocabulary
#
# More than half of MiniLM's parameters are word vectors, so we keep only frequent tokens: a token
# is kept if it occurs in at least 20 training reviews of at least 5 hotels. This also keeps guests'
# rare names out of the vocabulary, which is published with the weights; common first names stay.
# Special tokens and single ASCII characters are always kept, so a removed word is read in pieces,
# at worst letter by letter.

# %%
tokenizer = load_encoder(source)[1]
train = corpus.take(corpus.rows("train"))
ids = tokenizer(list(train.text))["input_ids"]
number = tokenizer.get_vocab()

# %%
kept_words = vocabulary.kept_tokens(number, tokenizer.all_special_tokens, ids, train.groups)

# %% [markdown]
# **Check**: every kept token follows the rule, counted from its words.

# %%
token_texts = [set(of_text) for of_text in ids]
always = {*tokenizer.all_special_tokens, *vocabulary.ASCII, *(f"##{c}" for c in vocabulary.ASCII)}
for token in set(kept_words) - always:
    n = [i for i, some in enumerate(token_texts) if number[token] in some]
    assert len(n) >= 20 and len({train.groups[i] for i in n}) >= 5, token

# %%
print(
    f"{len(kept_words)} of {len(tokenizer)} tokens stay for {len(train)} training reviews: "
    f"{shape.hidden_size * 2 * len(kept_words) / 1e6:.1f} MB of word vectors in 16 bits, "
    f"not {shape.hidden_size * 4 * len(tokenizer) / 1e6:.1f} MB in 32."
)

# %% [markdown]
# <a id="4--are-the-probabilities-calibrated"></a>
#
# ## 4 · Are the probabilities calibrated?
#
# When a model is 80 % sure, it should be right 80 % of the time. We sort reviews into bins $B$ by
# their largest probability. In each bin we compare the mean probability, $\mathrm{conf}$, with the
# accuracy. The mean distance of the two is the expected calibration error (Guo et al. 2017):
#
# $$\mathrm{ECE} = \sum_B \frac{|B|}{n}\,\bigl|\mathrm{acc}(B) - \mathrm{conf}(B)\bigr|$$
#
# To lower it, one number $T$, the temperature, divides the logits: $p \propto e^{z / T}$ (`scaled`
# below). $T$ is chosen on the validation split. It changes the confidence, never the class.

# %%
last = predictions[depth_names[-1]]
heat = calibration.temperature(last["valid"]["p_fine"], known["valid"].fine)

# %%
sure = {
    "as trained": last["test"]["p_fine"],
    "scaled": calibration.scaled(last["test"]["p_fine"], heat),
}
assert (sure["scaled"].argmax(1) == sure["as trained"].argmax(1)).all()


# %%
def reliability(tables: dict[str, pd.DataFrame], title: str):
    """Accuracy against confidence, a line a kind of probability; the diagonal is honest."""
    figure, ax = plt.subplots(figsize=(4.6, 3.8))
    ax.plot([0, 1], [0, 1], color="black", lw=1, ls=":")
    for (name, one), mark in zip(tables.items(), "oD^s", strict=False):
        ax.plot(one["confidence"], one["accuracy"], marker=mark, label=name)
    ax.set(xlabel="confidence", ylabel="share that is right", title=title, xlim=(0.2, 1))
    ax.legend()
    return figure


# %%
lines_of = {name: calibration.reliability(p, known["test"].fine) for name, p in sure.items()}
errors = {name: calibration.ece(p, known["test"].fine, test.groups) for name, p in sure.items()}
found = ", ".join(f"{name} {error.scores[0]:.2f}" for name, error in errors.items())
figure = reliability(lines_of, f"ECE, five classes: {found}\n(dotted: calibrated)")
_ = plots.save(figure, "12_reliability", run)

# %%
gap = errors["scaled"].minus(errors["as trained"])
moves = "raises" if gap.ci_low > 0 else "lowers"
moves = "does not measurably change" if gap.ci_low <= 0 <= gap.ci_high else moves
print(f"T = {heat:.2f}: the temperature {moves} the ECE on the test split:")
print(f"{gap.diff:+.2f} [{gap.ci_low:+.2f}, {gap.ci_high:+.2f}].")

# %%
rows = []
for name, one in answers.items():
    model, variant = (name, "full") if name in ("tfidf", "constant") else ("single_a", name)
    rows += results.rows(one, known["test"], test.groups, model=model, variant=variant, **place)

# %%
used = dict(dataset=dataset, utterances=utterances, encoder=encoder, depths=depths)
used |= dict(epochs=epochs, max_length=max_length)
_ = results.save(rows, run, "12_compression", parameters=used, checksums=dict(corpus.checksums))

# %% [markdown]
# <a id="5--fewer-bits"></a>
#
# ## 5 · Fewer bits
#
# To store the weights $w_{kd}$ of output $k$ in 8 bits, we round each to a whole number $q_{kd}$ of
# steps. Each output has a step $v_k$ of its own:
#
# $$v_k = \max_d |w_{kd}| / 127, \qquad q_{kd} = \mathrm{round}(w_{kd} / v_k),
# \qquad |w_{kd} - v_k q_{kd}| \le v_k / 2$$
#
# A single large weight makes the step coarse for all others of its output. The inputs of a layer
# are rounded in the same way at each call, with a step for each token. So no review depends on the
# others of its batch (`mmlib.text.compressed`). A bfloat16 number has 16 bits: a sign, 8 bits of
# exponent and 7 of digits. So each number has its own step.


# %%
def in_8_bits(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers -127 to 127 (k, d), and the steps (k, 1) that make them weights again."""
    step = w.abs().amax(dim=1, keepdim=True) / 127
    return (w / step).round(), step


# %%
model = kept.load()
kept_depth = f"{model.card['encoder']['num_hidden_layers']} layers"
layer = model.student.encoder.encoder.layer[0].intermediate.dense
weight = layer.weight.detach()  # (k, d)

# %%
q, step = in_8_bits(weight)
assert (q.abs().amax(dim=1) == 127).all() and ((weight - step * q).abs() <= step / 2 * 1.001).all()
assert torch.equal(q, compressed.EightBit(layer).weight.float())
ratio = (step[:, 0] / weight.std(dim=1)).median().item()
print(f"A step of one matrix of the kept model is {ratio:.3f} standard deviations of its weights.")

# %% [markdown]
# So one standard deviation is some forty steps. The kept model (section 6) reads the test
# reviews in three precisions. The last digits depend on the processor.

# %% tags=["nbval-ignore-output"]
readings = {name: model.in_precision(name).read(test.text) for name in kept.PRECISIONS}
full = readings["float32"]
same = {name: np.mean(r.fine.argmax(1) == full.fine.argmax(1)) for name, r in readings.items()}
moved = {name: abs(r.intensity - full.intensity).mean() for name, r in readings.items()}

# %% tags=["nbval-ignore-output"]
pd.DataFrame({"same fine class": same, "intensity moves by": moved}).round(3)

# %%
if dataset == "synthetic_reviews":
    assert min(same["bfloat16"], same["int8"]) >= 0.9 and max(moved.values()) < 0.05
    print(f"{len(test)} reviews: at least 90 % keep their class in bfloat16, and in 8 bits.")

# %% [markdown]
# <a id="6--the-same-on-hotel-reviews"></a>
#
# ## 6 · The same on hotel reviews
#
# The numbers below are from the stored run `compression-hotel`. Its reviews are
# [not public](book/finetuning.md). In the commands `python` is that of `.venv/bin`, and `DIR` is a
# folder of yours. To compare depths, the first layers of MiniLM (encoder A) were trained for one
# epoch on the first 8,000 training reviews, on the first 128 tokens of each. Only the validation
# split was scored (3,416 reviews of 26 hotels):
#
# ```
# for NAME in 2 3 4 6 6-half; do
#   CONFIG=papermill_runs/finetune/compression-$NAME.yaml
#   python -m mmlib.finetune $CONFIG --out DIR/compression-$NAME
#   python -m mmlib.finetune $CONFIG --seed 1 --out DIR/compression-$NAME-1
# done
# python tests/benchmarks/compression.py frontier DIR
# python tests/benchmarks/compression.py cost
# python tests/benchmarks/compression.py used
# python tests/benchmarks/compression.py threads
# ```
#
# Two models have no layers. `word vectors` is the mean of MiniLM's token vectors, trained for up to
# three epochs. The bag of words learned from the same reviews and reads them whole. The number of
# epochs of `word vectors` and the penalty of the bag of words were chosen on the validation split,
# which favours both a little. Their intervals hold for other hotels, not for another training.
#
# The model with half the weights keeps all six layers, and each linear layer becomes two factors of
# low rank (`low_rank: 0.5`). It has as many parameters as three whole layers (17.3 million).

# %%
METRICS = ["acc_coarse", "acc_fine", "mae"]
DIFFERENCE = ["metric", "diff", "ci_low", "ci_high", "p_holm"]
is_stored = stored in results.runs()
lines_stored = results.load(stored) if is_stored else pd.DataFrame(columns=list(results.ROW))

# %%
selected = lines_stored.query("split == 'valid' and notebook == 'compression-frontier'")


# %%
def wide(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval as text, a line a variant, a column a metric."""
    numbers = rows[["mean", "ci_low", "ci_high"]].to_numpy()
    rows = rows.assign(text=[f"{m:.3f} [{a:.3f}, {b:.3f}]" for m, a, b in numbers])
    return rows.pivot(index=["model", "variant"], columns="metric", values="text")[METRICS]


# %%
if len(selected):
    display(plots.labelled(wide(selected)))

# %%
if len(selected):
    count = selected.query("metric == 'acc_fine'").set_index("variant")["n_seeds"]
    print("seeds:", count.drop("full").to_dict())
    gaps = results.load_comparisons(stored).query("notebook == 'compression-frontier'")
    gaps = gaps.assign(better=gaps.apply(results.better, axis=1))
    gaps["b"] = gaps["b"].str.removeprefix("single_a:")
    ends = gaps[["diff", "ci_low", "ci_high"]].to_numpy()
    gaps["text"] = [f"{d:+.3f} [{low:+.3f}, {high:+.3f}]" for d, low, high in ends]
    clear = gaps[gaps["better"] != ""].itertuples()
    found = ", ".join(f"{test.b} ({plots.measure(test.metric)})" for test in clear)
    print("told apart from three layers:", found or "none")
    print("three layers minus each of the others:")
    display(plots.labelled(gaps.pivot(index="b", columns="metric", values="text")[METRICS]))

# %%
prices = results.load_table(stored, "cost") if is_stored else pd.DataFrame()
if len(prices):
    display(plots.labelled(prices.drop(columns="mb_float32").set_index("reader")))

# %%
second = results.load_table(stored, "threads") if is_stored else pd.DataFrame()
if len(second):
    print("times more reviews on two threads than on one, 128 tokens, batches of 8:")
    for round_ in second.itertuples():
        least_most = f"{round_.gain_least:.1f} to {round_.gain_most:.1f}"
        print(f"{round_.reader}: {round_.gain_median:.2f} (single rounds {least_most})")

# %% [markdown]
# The table of costs has the CPU time on one core, in milliseconds a review. "Times faster" compares
# it with that of `pair`, DyFuLM with two encoders; it is the median over rounds. "Reviews a CPU
# second" is in batches of 8. All models of that table have MiniLM's whole vocabulary and are not
# fine-tuned, and the texts are random tokens. The kept model has 7,130 tokens and 11.8 million
# parameters. Processor and date are on [the page of benchmarks](book/benchmarks.md). The gains by a
# second thread vary more from round to round than from model to model.

# %% [markdown]
# **As they are used**, the pair reads at most 384 tokens, the kept model 256. Both can compute in
# bfloat16 where the processor has it. The next table has one review of each length, and the CPU
# time of the pair in float32 over that of each line; `least` and `most` are over nine rounds.

# %%
as_used = results.load_table(stored, "used") if is_stored else pd.DataFrame()
if len(as_used):
    as_used = as_used.rename(columns={"read": "tokens read"})
    display(plots.labelled(as_used.set_index(["reader", "precision", "tokens"])))

# %%
deep = selected[selected["variant"].str.endswith(" layers")]
by_depth = {m: deep[deep["metric"] == m].sort_values("variant") for m in METRICS}
several = by_depth["acc_fine"]["variant"].nunique() > 1
names, x = [], np.zeros(0)
if several:
    names = by_depth["acc_fine"]["variant"].tolist()
    x = np.array([operations(int(name.split()[0]), 128, 384, 1536) / 1e6 for name in names])

# %%
if several:
    band = ["mean", "ci_low", "ci_high"]
    three = {m.removeprefix("acc_"): by_depth[m][band].to_numpy() for m in METRICS[:2]}
    figure = frontier(x, three, names, "millions of operations a review of 128 tokens")
    beside = selected.query("metric in ('acc_coarse', 'acc_fine') and model != 'constant'")
    beside = beside.assign(variant=beside["variant"].replace("full", "bag of words"))
    for name, style in (("word vectors", "--"), ("bag of words", ":")):
        for value in beside.loc[beside["variant"] == name, "mean"]:
            figure.axes[0].axhline(value, color="black", lw=1, ls=style, label=name)
    lines_by_label = dict(zip(*figure.axes[0].get_legend_handles_labels()[::-1], strict=True))
    figure.axes[0].legend(lines_by_label.values(), lines_by_label, loc="center right")
    both = by_depth["acc_coarse"]["mean"].to_numpy() + by_depth["acc_fine"]["mean"].to_numpy()
    bend = knee(x, both)
    above = heights(x, both).round(2)
    level = " or ".join(name for name, y in zip(names, above, strict=True) if y == above.max())
    found = f"Knee of coarse plus fine: {level}" if bend else "No knee among these points"
    rise = np.diff(by_depth["acc_fine"]["mean"].to_numpy()[[0, -1]])[0]
    title = f"{names[0]} to {names[-1]}: fine accuracy {rise:+.3f}"
    figure.axes[0].set_title(f"{title}\n(8,000 hotel reviews, validation)")
    _ = plots.save(figure, "12_frontier_stored", run)

# %%
if several:
    fine = dict(zip(names, by_depth["acc_fine"]["mean"], strict=True))
    print("Fine accuracy on validation: " + ", ".join(f"{n} {v:.3f}" for n, v in fine.items()))
    print(f"{found}. Heights above the line: {dict(zip(names, above.tolist(), strict=True))}")

# %%
if several:
    per_seed = [np.stack(by_depth[m]["per_seed"]) for m in METRICS[:2]]  # 2 of (depths, s)
    of_seeds = [names[i] for i in map(lambda y: knee(x, y), sum(per_seed).T) if i is not None]
    print(f"Knee of each seed: {', '.join(of_seeds)}.")

# %% [markdown]
# **Do DyFuLM's parts help a small reader?** Three layers are trained as above, with two seeds, in
# four ways: with all parts, without layer fusion, without guidance, and `plain`, without both. The
# plain model reads the last layer by linear heads, as distilled models usually do. The commands;
# the second configuration is that without layer fusion:
#
# ```
# for NAME in 3 3-last 3-no-guidance 3-plain; do
#   CONFIG=papermill_runs/finetune/compression-$NAME.yaml
#   python -m mmlib.finetune $CONFIG --out DIR/compression-$NAME
#   python -m mmlib.finetune $CONFIG --seed 1 --out DIR/compression-$NAME-1
# done
# python tests/benchmarks/compression.py parts DIR
# ```

# %%
parts = lines_stored.query("notebook == 'compression-parts'")
if len(parts):
    named = parts["variant"].str.replace(", DyFuLM", ", all parts")
    display(plots.labelled(wide(parts.assign(variant=named))))

# %%
if len(parts):
    without = results.load_comparisons(stored).query("notebook == 'compression-parts'")
    without = without.assign(b=without["b"].str.removeprefix("single_a:3 layers, "))
    print("all parts minus:")
    display(plots.labelled(without.set_index("b")[DIFFERENCE].round(3).astype(object)))

# %%
if len(parts):
    told = {(t["b"], t["metric"]): results.better(t) for _, t in without.iterrows()}
    gains = [f"{b} ({metric})" for (b, metric), name in told.items() if name and "DyFuLM" in name]
    losses = [f"{b} ({metric})" for (b, metric), name in told.items() if name and b in name]
    print(f"All parts are told apart as better than: {', '.join(gains) or 'none'}.")
    print(f"All parts are told apart as worse than: {', '.join(losses) or 'none'}.")

# %% [markdown]
# **The kept model** has five layers: as many as fit into 25 MB. It was trained on all 31,053
# reviews for one epoch, at most 256 tokens of each, with the smaller vocabulary and one seed, and
# is stored in float16. Of a longer review it reads the first 64 and the last 192 tokens. A run of
# three epochs had a higher validation loss after each of its first two epochs, so we stopped it. On
# 600 validation reviews reading 256 tokens scored higher than reading 128. Neither of these scores
# is stored; `mmlib.finetune.keep` prints the second. Below the model is tested on all 5,531 test
# reviews; the intervals hold for other hotels, not for another training. The commands (`keep`
# replaces the model that comes with the project, and `kept` scores the one that is there):
#
# ```
# CONFIG=papermill_runs/finetune/compression-5-full.yaml
# python -m mmlib.finetune $CONFIG --out DIR/compression-5-full
# python -m mmlib.finetune $CONFIG --seed 1 --out DIR/compression-5-full-1
# python -m mmlib.finetune.keep DIR/compression-5-full mmlib/dyfulm/weights
# python tests/benchmarks/compression.py kept
# ```
#
# **Two smaller models had been scored on the test split before.** Three layers trained on 8,000
# reviews had .777 coarse and .539 fine accuracy on 2,000 of these reviews (commit f085525). Three
# layers trained on all reviews, 128 tokens of each, had .787 and .575 (commit 3fdda11). As neither
# was more accurate than a bag of words, we trained this larger one on more tokens. Nothing else was
# chosen by test scores. "Natural shares" weights one to five stars by their shares in the source:
# 3.6, 4.2, 10.9, 30.0 and 51.2 %.

# %%
final = lines_stored.query("notebook == 'compression-kept'")
if len(final):
    natural = [f"{m}_natural" for m in METRICS]
    for metrics in (METRICS, natural):
        display(plots.labelled(results.table(final, metrics, ("model", "variant"))))

# %%
if len(final):
    tests = results.load_comparisons(stored)
    against = tests[tests["notebook"] == "compression-kept"]
    display(plots.labelled(against.set_index("b")[DIFFERENCE]))

# %% [markdown]
# **Another training** of the same model, with seed 1. The table has both trainings before the
# vocabulary is pruned and the weights are rounded, so seed 0 differs a little from the table above.
# Intervals and tests count seeds and hotels. The two differ by .003 in each accuracy. Both together
# are better than the bag of words by .018 [.010, .025] in coarse and by .023 [.009, .036] in fine
# accuracy.

# %%
seeds_of = lines_stored.query("notebook == 'compression-again' and model == 'single_a'")
if len(seeds_of):
    display(plots.labelled(results.table(seeds_of, METRICS, ("model", "variant"))))
    each = seeds_of.set_index("metric")["per_seed"]
    print("each training:", {m: [round(x, 3) for x in each[m]] for m in METRICS})
    against = tests[(tests["notebook"] == "compression-again") & (tests["b"] == "tfidf")]
    display(plots.labelled(against.set_index("b")[DIFFERENCE].round(3).astype(object)))

# %%
bins = results.load_table(stored, "reliability") if is_stored else pd.DataFrame()
of_kept = results.load_table(stored, "calibration") if is_stored else pd.DataFrame()
if len(of_kept):
    of_fine = bins.query("head == 'fine'").groupby("kind")
    known_ece = of_kept.query("head == 'fine'").set_index("kind")["ece"]
    found = ", ".join(f"{kind} {known_ece[kind]:.3f}" for kind in of_fine.groups)
    figure = reliability(dict(iter(of_fine)), f"ECE, five classes: {found}\n(dotted: calibrated)")
    _ = plots.save(figure, "12_reliability_stored", run)

# %%
if len(of_kept):
    gaps_ece = results.load_table(stored, "calibration_gaps").set_index("head")
    display(plots.labelled(of_kept.set_index(["head", "kind"]).round(3)))
    print("scaled minus as trained:")
    display(plots.labelled(gaps_ece.round(3)))
    assert (gaps_ece["p_holm"] > 0.05).all()

# %% [markdown]
# **On the test split the temperature does not help the kept model.** With it the ECE is .009
# [-.012, .030] higher for five classes, and .012 [.001, .023] higher for three; after Holm's
# correction neither is told apart (p .37 and .066). T was chosen on 600 validation reviews of other
# hotels. An ECE is biased upwards: even a calibrated model's is above 0.
#
# **In fewer bits.** The kept model read 2,000 random test reviews in float32, in bfloat16 and with
# 8-bit weights (`python tests/benchmarks/compression.py precision --reviews 2000`). MB is the size
# of the weights as torch saves them. "Times faster" compares the CPU time with that in float32, on
# one core in the same run. "Same fine class" is the share of reviews that keep the class they have
# in float32.

# %%
bits = results.load_table(stored, "precision") if is_stored else pd.DataFrame()
if len(bits):
    display(plots.labelled(bits.set_index("precision")))

# %%
if len(bits):
    short = tests[tests["notebook"] == "compression-precision"]
    display(plots.labelled(short.set_index("a")[DIFFERENCE].round(3).astype(object)))

# %% [markdown]
# Neither bfloat16 nor 8 bits can be told apart from float32 in any score. In 8 bits .9 % of the
# reviews change their fine class. The 8 bits save little memory over bfloat16, since the word
# vectors stay in float32. This processor has instructions for bfloat16: it is 3.16 times as fast as
# float32, and 8 bits are 1.20 times as fast. So 8 bits are for processors that have VNNI and no
# bfloat16 ([measurements](book/benchmarks.md#frozen-features)).

# %% [markdown]
# **Other kinds of 8 bits.** Our layers have a step for each token (in `encode`, too, by
# `dtype="int8"`). torchao's have, too; those of torch (`8 bits at each call`) have one for a whole
# batch. Two libraries can fix the range of the inputs beforehand, from 85 training reviews, the
# first 96 tokens of each. ONNX Runtime does so by the least and greatest values (`extremes`), or by
# the 99.999th percentile; OpenVINO does so by NNCF. Each model read 1,000 random validation reviews
# (`python tests/benchmarks/static8.py`; its first lines name the packages that it needs).

# %%
fixed = results.load_table(stored, "static") if is_stored else pd.DataFrame()
if len(fixed):
    display(plots.labelled(fixed.drop(columns="reviews").set_index("model")))

# %%
if len(fixed):
    of_fixed = results.load_comparisons(stored).query("notebook == 'compression-static'")
    of_fixed = of_fixed[of_fixed["a"].str.contains("8 bits")]
    of_fixed = of_fixed.replace("^.*layers ", "", regex=True)
    display(plots.labelled(of_fixed.set_index("a")[DIFFERENCE].round(3).astype(object)))

# %%
if len(fixed):
    lost = {x["a"]: 1 for _, x in of_fixed.iterrows() if results.better(x)}
    print(f"Told apart from float32: {', '.join(lost) or 'none'}.")

# %% [markdown]
# **With one step a token we can measure no loss.** At least 99 % of the reviews keep their fine
# class. Ours are 1.35 times as fast as float32, torchao's 1.50 times (compiled for this processor).
# With torch's one step a batch 92 % keep it, at 1.54 times the speed; no score of theirs is told
# apart from float32.
#
# **The models with fixed ranges lose something.** NNCF's is the fastest, 1.88 times, and 98 % of
# the reviews keep their fine class; its MAE grows by .0008 [.0005, .0012] (p .010 after Holm). In
# ONNX Runtime the MAE grows by .005 [.002, .007] by the extremes (p .032) and by .005 [.003, .007]
# by the percentile (p .001). By the extremes fine accuracy falls by .020 [.008, .032], but that is
# not told apart (p .096). Neither is faster than torch in float32 here.
#
# These times are of an Intel processor with AMX. On an AMD with AVX-512, torch's 8 bits were 1.98
# times as fast as float32 and ONNX Runtime's 1.02 and 1.03 times; their scores were the same. The
# kinds were not tested against each other. They also differ in runtime, and in the steps of the
# weights: most have one for each column of a matrix. We keep no library as an extra: a processor
# with bfloat16 is as fast without a loss, and needs none.

# %% [markdown]
# <a id="7--a-teacher"></a>
#
# ## 7 · A teacher
#
# A label names the right class. A teacher's probabilities also say which wrong classes are nearly
# right. The logits of teacher and student are divided by $\tau$, so that small probabilities count
# (Hinton et al. 2015). The distance of the two distributions is their Kullback-Leibler divergence
# $D$. For a head with teacher $p$, student $q$, label $y$ and ordinary loss $L$ the loss is
#
# $$(1 - \lambda)\,L(q, y) + \lambda\,\tau^2\,D(p_\tau\,\|\,q_\tau),
# \qquad p_\tau \propto p^{1/\tau}$$
#
# For the intensity, the squared error takes the place of the divergence. $\tau^2$ keeps the
# gradient's size, whatever $\tau$ is. We chose to teach all three heads, with $\lambda = .5$ and
# $\tau = 2$. This $\tau$ is not the temperature $T$ of section 4, which is chosen after training.


# %%
def divergence(p: torch.Tensor, logits: torch.Tensor, tau: float) -> torch.Tensor:
    """tau^2 D(p_tau || q_tau) of each text, from probabilities and logits (b, k)."""
    soft = (p.log() / tau).softmax(-1)
    return tau**2 * (soft * (soft.log() - (logits / tau).log_softmax(-1))).sum(-1)


# %%
torch.manual_seed(0)
z, teacher = torch.randn(9, 5, requires_grad=True), torch.randn(9, 5).softmax(-1)
three_heads = Output(z[None, :, :3], torch.zeros(1, 9), z[None], None, None, None, None)

# %%
soft = distillation.SoftTargets(teacher[:, :3], teacher, torch.zeros(9)).take(torch.arange(9))
ours = distillation.soft_losses(three_heads, soft, 2.0)[0, 1]
assert torch.isclose(ours, divergence(teacher, z, 2.0).mean())

# %%
divergence(z.detach().softmax(-1), z, 2.0).sum().backward()
assert z.grad.abs().max() < 1e-5  # who says what its teacher says has nothing to learn

# %% [markdown]
# **On SST-5** (8,544 sentences to train on) the teacher is a *frozen* pair, MiniLM and MPNet (extra
# `mpnet`), under DyFuLM. A model's predictions for its own training sentences mostly repeat their
# labels. So we cut the training split into five folds. For each fold, a teacher trained on the
# other four predicts it. Students are MiniLM's first layers, fine-tuned for one epoch, with the
# teacher and without:
#
# ```
# python -m mmlib.finetune.teacher sst5 DIR/teacher.npz --encoders minilm mpnet
# python tests/benchmarks/compression.py students DIR
# python tests/benchmarks/compression.py sst5 DIR
# ```
#
# Students have one seed. Depths, $\lambda$, $\tau$ and length were fixed beforehand, so no score
# decided a choice. The last command reads the test split, once.

# %%
taught = results.load(distilled) if distilled in results.runs() else lines_stored[:0]
if len(taught):
    display(plots.labelled(results.table(taught, METRICS, ("model", "variant"))))
else:
    print(f"no run {distilled} is stored; the commands above make compression-sst5")

# %%
gaps_taught = results.load_comparisons(distilled) if len(taught) else pd.DataFrame()
if len(taught):
    gaps_taught = gaps_taught[gaps_taught["split"] == "test"]
    shown = gaps_taught[["a", "b", *DIFFERENCE]]
    display(plots.labelled(shown.round(3).set_index(["a", "b"])))

# %%
if len(taught):
    fine = [pair for pair in gaps_taught.itertuples() if pair.metric == "acc_fine"]
    gained = {pair.b: pair for pair in fine if pair.a == f"{pair.b} distilled"}

# %% [markdown]
# **On SST-5 the teacher changes no accuracy that we can tell apart** (p at least .24 after Holm).
# Of the MAEs only that of two layers is told apart: lower by .002 [.001, .003] (p .018). Six layers
# with the teacher stay .029 in coarse and .032 in fine accuracy below such a teacher: the average
# of three seeds that learned from the whole training split.
#
# **On hotel reviews** the teacher is a *fine-tuned* pair, with the encoders of the run `hotel`. It
# learned for one epoch from all 31,053 training reviews, with one seed. It read at most 128 tokens
# of each: of a longer review the first 32 and the last 96. Then it gave soft targets for the first
# 8,000. Unlike the teacher of SST-5, it had seen each of their labels once: five folds would need
# five such trainings. Students are three and six layers, trained on these 8,000 reviews as in
# section 6. $\lambda$ and $\tau$ were fixed beforehand, and only the validation split is scored.
# After the encoder of [fine-tuning](book/finetuning.md) is made, the commands are, for each depth
# and seed:
#
# ```
# CONFIGS=papermill_runs/finetune
# python -m mmlib.finetune $CONFIGS/compression-teacher.yaml --out DIR/compression-teacher
# python -m mmlib.finetune.teacher hotel data/finetuned/teacher.npz \
#     --run DIR/compression-teacher --utterances 8000
# python -m mmlib.finetune $CONFIGS/compression-3-taught.yaml --seed 1 \
#     --out DIR/compression-3-taught-1
# python tests/benchmarks/compression.py taught DIR
# ```


# %%
def of_students(kind: str, split: str = "valid") -> pd.DataFrame:
    """Show the stored scores of students on a split; returns their paired tests."""
    asked = "notebook == @kind and split == @split"
    display(plots.labelled(wide(lines_stored.query(asked))))
    tests = results.load_comparisons(stored).query(asked)
    return tests[["a", "b", *DIFFERENCE]].replace("^single_a:", "", regex=True)


# %%
def with_and_without(tests: pd.DataFrame) -> dict[str, pd.Series]:
    """Print what the teacher changes in the fine accuracy of each student; returns these tests."""
    fine = tests[(tests["metric"] == "acc_fine") & (tests["a"] == tests["b"] + " distilled")]
    for _, one in fine.iterrows():
        ends = f"[{one['ci_low']:+.3f}, {one['ci_high']:+.3f}], {p_text(one['p_holm'])} (Holm)"
        print(f"{one['b']}, with a teacher minus without: fine accuracy {one['diff']:+.3f} {ends}")
    return {one["b"]: one for _, one in fine.iterrows()}


# %%
kinds = {f"compression-{kind}" for kind in ("taught", "pupils", "five", "two")}
has_students = kinds <= set(lines_stored["notebook"])
if has_students:
    of_few = of_students("compression-taught")
    display(plots.labelled(of_few.round(3).astype(object).set_index(["a", "b"])))
    fine_few = with_and_without(of_few)

# %% [markdown]
# **The teacher changes no score that we can tell apart**, though its own fine accuracy is .056
# above that of the three layers that it taught, and .040 above that of the six. It has two
# encoders, and learned from nearly four times as many reviews.
#
# **With all reviews.** Now students learn from all 31,053 reviews, with a teacher (`distilled`) and
# without:
#
# - three layers from the first 128 tokens, three seeds each. Their teacher was trained anew from
#   the same configuration, on another processor, so its scores differ a little from those above.
# - the five layers of the kept model from 256 tokens, two seeds each. Their teacher is the pair of
#   the run `hotel`, trained anew with seed 0: it reads 384 tokens, and has one epoch.
#
# Seeds 1 and 2 are trained by `--seed`, into folders that end in `-1` and `-2`:
#
# ```
# python -m mmlib.finetune papermill_runs/finetune/hotel-dyfulm.yaml --out DIR/dyfulm0
# python -m mmlib.finetune.teacher hotel data/finetuned/teacher.npz --run DIR/compression-teacher
# python -m mmlib.finetune.teacher hotel data/finetuned/teacher-384.npz --run DIR/dyfulm0
# for NAME in 3-all 3-all-taught 5-full 5-full-taught; do
#   CONFIG=papermill_runs/finetune/compression-$NAME.yaml
#   python -m mmlib.finetune $CONFIG --out DIR/compression-$NAME
# done
# python tests/benchmarks/compression.py pupils DIR
# python tests/benchmarks/compression.py again DIR
# ```

# %%
if has_students:
    of_all = of_students("compression-pupils")
    display(plots.labelled(of_all.round(3).astype(object).set_index(["a", "b"])))
    fine_all = with_and_without(of_all)

# %%
if has_students:
    for_all = lines_stored.query("notebook == 'compression-pupils' and metric == 'acc_fine'")
    seeds_fine = for_all.set_index("variant")["per_seed"]
    for name in fine_all:
        by_seed = np.subtract(*(seeds_fine[f"{name}{x}"] for x in (" distilled", "")))  # (s,)
        assert not results.better(fine_all[name])
        print(f"{name}, fine accuracy with the teacher minus without, by seed:", by_seed.round(3))

# %% [markdown]
# **With all reviews the teacher's effect is not told apart either.** In three layers fine accuracy
# is higher in each of the three seeds, by .005 to .007, and by .006 [-.001, .013] together (p .07,
# after Holm 1). In five layers it changes by .000 [-.009, .010] with the teacher of 384 tokens,
# down in one seed and up in the other. With two seeds the interval of their coarse accuracy is
# wide: -.003 [-.056, .051].
#
# **Five layers that read 256 tokens cannot be told from this pair of 384 tokens**, with a teacher
# or without (fine accuracy without: -.002 [-.014, .009]). Three layers that read 128 can, with a
# teacher and without: their fine accuracy is .040 [.023, .057] and .046 [.032, .061] lower. Against
# the pair that read 128 tokens, five layers have a lower MAE, by .008 [.005, .012] (p .010 after
# Holm). With a teacher they also have .019 [.011, .027] more coarse accuracy (p .007 after Holm).
# What length, layers and encoders each contribute is not measured.
#
# **With another teacher**: a second training of the pair of 384 tokens (seed 1, section 8). Five
# layers are trained a third time, `again`, with seed 2. Two layers read the first 128 tokens of all
# reviews, with seeds 0, 1 and 2. For seed 2 of two layers that pair was trained anew, from the same
# configuration on another processor; all comparisons below are with the earlier one. The students
# without a teacher have the same commands, without `-taught`:
#
# ```
# CONFIGS=papermill_runs/finetune
# python -m mmlib.finetune $CONFIGS/hotel-dyfulm.yaml --seed 1 --out NEW/dyfulm0-1
# python -m mmlib.finetune.teacher hotel data/finetuned/teacher-384.npz --run NEW/dyfulm0-1
# python -m mmlib.finetune $CONFIGS/compression-5-full-taught.yaml --seed 2 \
#     --out NEW/compression-5-full-taught-2
# python -m mmlib.finetune $CONFIGS/compression-2-all-taught.yaml --seed 0 \
#     --out NEW/compression-2-all-taught
# python tests/benchmarks/repeated.py NEW
# ```
#
# `NEW` is another folder than `DIR`, since the last command takes every seed that it finds.

# %%
if has_students:
    for kind in ("compression-five", "compression-two"):
        for split in ("valid", "test"):
            print(f"{split}:")
            of_again = of_students(kind, split)
            display(plots.labelled(of_again.round(3).astype(object).set_index(["a", "b"])))
            fine_again = with_and_without(of_again)
            assert not any(map(results.better, fine_again.values()))

# %% [markdown]
# **Here too the teacher changes no score that we can tell apart.** In five layers fine accuracy
# changes by -.002 [-.010, .006] on validation and by .000 [-.006, .006] on test. In two layers it
# changes by +.006 [-.001, .014] and by +.005 [-.005, .015].
#
# **Two layers are too few for the goal.** Without a teacher they have .050 [.038, .061] less coarse
# and .063 [.052, .074] less fine accuracy on test than the pair. With one they have .049 and .058
# less. All four losses are told apart.

# %% [markdown]
# <a id="8--the-verdict-on-open-question-3"></a>
#
# ## 8 · The verdict on open question 3
#
# The kept model had three goals: both accuracies at most .005 below the fine-tuned pair, 8 times
# the pair's speed on one core, and at most 25 MB. Pair and kept model learned from the same 31,053
# reviews: the pair (stored run `hotel`) from 384 tokens of each, the kept model from 256. So
# differences below come from encoders, layers, vocabulary and length together.
#
# The first goal was set for the validation split, on which the kept model's epochs and length were
# chosen, too. There the run `hotel` keeps no scores, but the teacher of 384 tokens in section 7
# does: it is the same pair, trained anew. Below, two trainings of the kept model's five layers are
# compared with it, first on validation, then on the test split. These differences are paired, by
# review.


# %%
def against_pair(kind: str) -> pd.DataFrame:
    """Stored tests of the five layers, without a teacher, against the pair at 384 tokens."""
    tests = results.load_comparisons(stored).query("notebook == @kind")
    is_pair = tests["b"] == "dyfulm:teacher, 384 tokens"
    return tests[is_pair & tests["a"].str.match(r"single_a:5 layers(, \d seeds)?$")]


# %%
if has_students:
    for kind in ("compression-pupils", "compression-again"):
        if (pairs := against_pair(kind)).empty:
            continue
        display(plots.labelled(pairs.set_index("split")[DIFFERENCE].round(3).astype(object)))
        lost = pairs[pairs["metric"] != "mae"]["diff"].min()
        split = pairs["split"].iloc[0]
        print(f"{split}, goal for accuracy: {'reached' if lost >= -0.005 else 'not reached'}")

# %% [markdown]
# **Once more, with another training of the pair** (seed 1, that of section 7; tables call it
# `teacher, 384 tokens`, too). Now the kept model itself is compared with it, pruned and rounded as
# it comes with the project. Both models' predictions are stored, so the last command of section 7
# needs no training for this.

# %%
if has_students:
    once_more = results.load_comparisons(stored).query("notebook == 'compression-repeated'")
    once_more = once_more[once_more["a"].str.endswith(", kept")]
    for split, pairs in once_more.groupby("split", sort=False):
        display(plots.labelled(pairs.set_index("split")[DIFFERENCE].round(3).astype(object)))
        lost = pairs[pairs["metric"] != "mae"]["diff"].min()
        print(f"{split}, goal for accuracy: {'reached' if lost >= -0.005 else 'not reached'}")

# %% [markdown]
# The kept model beside the five seeds of the run `hotel`, whose predictions are not kept. So these
# differences have no interval:

# %%
if len(final) and "hotel" in results.runs():
    whole = results.load("hotel").query(
        "split == 'test' and model == 'dyfulm' and variant == 'full'"
    )
    student = final[final["model"] == "single_a"].set_index("metric")["mean"]
    gaps = student - whole.set_index("metric")["mean"]

# %%
if len(final) and "hotel" in results.runs():
    print("kept model minus pair, test: " + ", ".join(f"{m} {gaps[m]:+.3f}" for m in METRICS))
    reached = min(gaps["acc_coarse"], gaps["acc_fine"]) >= -0.005
    print("goal for accuracy, on test: " + ("reached" if reached else "not reached"))

# %%
if len(prices):
    ratio = prices.query("reader == @kept_depth").set_index("tokens")["times_faster"]
    reached = "reached" if ratio.min() >= 8 else "not reached"
    print(f"{kept_depth}, times faster at equal length: {ratio.to_dict()}; goal 8: {reached}")

# %%
if len(as_used):
    times = as_used.set_index(["reader", "precision", "tokens"])["times_faster"].sort_index()
    fast = times[kept_depth, "bfloat16"]
    alike = (fast / times["pair", "bfloat16"]).round(1)
    print(f"as used, in bfloat16, against the pair in float32: {fast.to_dict()}")
    print(f"against the pair in bfloat16: {alike.to_dict()}")

# %%
if len(bits):
    size = bits.set_index("precision")["mb"]["bfloat16"]
    print(f"{size} MB in 16 bits; goal 25 MB: {'reached' if size <= 25 else 'not reached'}")

# %% [markdown]
# **Verdict: five layers keep most of the accuracy.** Whether they keep all of it depends on the
# training of the pair:
#
# - **Validation.** Against seed 0 the goal is reached by the means: two trainings of the five
#   layers have .007 [-.015, .028] more coarse and .002 [-.009, .014] less fine accuracy. Against
#   seed 1 the kept model has .001 [-.008, .010] less coarse and .006 [-.010, .021] less fine
#   accuracy: narrowly missed. A third training of the five layers reaches it against seed 1: .004
#   [-.005, .013] less coarse, .006 [-.007, .018] more fine accuracy.
# - **Test.** The goal is not reached. Against seed 0 the two trainings have .005 [-.001, .012] less
#   coarse and .006 [-.003, .015] less fine accuracy, and are not told apart. Against seed 1 the
#   kept model has .011 [.003, .019] less coarse accuracy, which is told apart (p .018 after Holm),
#   and .007 [-.004, .017] less fine accuracy; the third training has .007 [.001, .013] less coarse
#   (p .17 after Holm) and .003 [-.008, .015] less fine accuracy. Against the five seeds of the run
#   `hotel` the kept model loses .006 and .007.
#
# The kept model's error of the intensity is higher than that of seed 1 in both splits: by .004
# [.002, .007] on validation and .002 [.001, .004] on test, told apart in both. That of the third
# training is .002 [.001, .004] higher on test, told apart, too (p .013 after Holm). In coarse
# accuracy the two seeds of the pair differ by .010 on validation and by .006 on test, more than the
# goal's .005. So a claim about .005 needs several trainings of both models.
#
# The kept model is told apart from a bag of words of the same reviews, by .018 [.010, .026] in
# coarse and .024 [.011, .037] in fine accuracy. In fine accuracy $p$ is .001; with one correction
# for all tests of the run it is .124. That correction would change thirteen other verdicts of this
# notebook, too; among them are the kept model's three against seed 1
# ([08b](08b_tables.ipynb#pairs)).
#
# **The goal for the size is met. The goal for the speed is met only at 384 tokens, by five layers
# in bfloat16 against the pair in float32.** At equal length and precision five layers are 2.7 to
# 3.2 times as fast as the pair. Even two layers, which lose .050 and .063 of accuracy on test
# (section 7), are 6.2 to 7.6 times as fast. As five layers are used, in bfloat16, they read a
# review of 384 tokens, of which they see 256, 11.1 times as fast as the pair in float32 (single
# rounds 9.5 to 11.7); a review of 128 tokens they read 4.8 times as fast. Against the pair in
# bfloat16 these ratios are 6.3 and 3.0, as quotients of `times_faster`. The time of the pair at 384
# tokens varies: in section 6 its median is 426 ms as used, and 353 ms in the table of costs.
#
# **The knee is at three or at four layers**, on validation, after 8,000 reviews; we cannot say at
# which. In the mean of two seeds both lie .41 of the whole gain above the line of section 2. Alone,
# one seed has its knee at three layers and the other at four. In fine accuracy four layers are .010
# [-.009, .030] above three and cannot be told apart from them. Six layers are .006 above four in
# coarse accuracy, and equal in fine; this difference was not tested. A bag of words of the same
# 8,000 reviews has the same mean accuracies as six layers, .785 and .57 (not tested).
#
# **Leaving out layers is faster than halving their weights.** At 128 tokens six layers of half the
# weights are 3.7 times as fast as the pair, three whole layers 4.5 times. With two seeds the scores
# of the two cannot be told apart: three whole layers are higher by .017 [-.008, .042] in coarse and
# by .021 [-.037, .079] in fine accuracy.
#
# **For three layers we can measure no effect of layer fusion or guidance.** Fine accuracy on
# validation with all parts minus that with plain heads is -.002 [-.014, .011].
#
# **Nor can we measure that a teacher helps accuracy**, be it frozen (SST-5) or fine-tuned (hotel
# reviews, 8,000 or all). On hotel reviews, with these teachers, an effect of more than .013 on the
# fine accuracy of three layers is unlikely, and of more than .010 on that of five. For two layers
# up to .015 is possible, for six, with two seeds, up to .023.
#
# **Not measured yet**:
#
# - more students of the second pair;
# - a teacher's effect on students that learn for more than one epoch;
# - what the layers of the kept model and its 256 tokens each contribute.

# %% [markdown]
# <a id="takeaways"></a>
#
# ## Takeaways

# %%
print(
    f"1. In small, on {dataset}: {len(depth_names)} depths, "
    f"fine accuracy {gain:+.2f} {gain_ends} from the shallowest to the deepest."
)

# %%
if len(prices):
    at = prices.query("tokens == 128").set_index("reader")["times_faster"]
    ratios = ", ".join(f"{name} {value:.1f}" for name, value in at.items() if name != "pair")
    print(f"2. At 128 tokens, times faster than the pair on one core: {ratios}.")

# %%
if len(final):
    best = final.query("metric == 'acc_fine'").set_index("model")["mean"]
    coarse = final.query("metric == 'acc_coarse_natural'").set_index("model")["mean"]
    print(
        f"3. On the test split the kept model has fine accuracy {best['single_a']:.3f}, "
        f"a bag of words of the same reviews {best['tfidf']:.3f}. With stars as guests give them "
        f"its coarse accuracy is {coarse['single_a']:.3f}, that of the bag of words "
        f"{coarse['tfidf']:.3f}, that of the constant {coarse['constant']:.3f}."
    )

# %%
if len(bits):
    of, fine = bits.set_index("precision"), short[short["metric"] == "acc_fine"].set_index("a")
    eight = fine.loc[f"single_a:{kept_depth} int8"]
    changed = [x["metric"] for _, x in short.iterrows() if "16" in x["a"] and results.better(x)]
    print(
        f"4. In bfloat16 it takes {of.loc['bfloat16', 'mb']} MB, is "
        f"{of.loc['bfloat16', 'times_faster']} times as fast; told apart: {changed or 'no score'}. "
        f"With 8-bit weights it takes {of.loc['int8', 'mb']} MB, is "
        f"{of.loc['int8', 'times_faster']} times as fast, and its fine accuracy changes by "
        f"{eight['diff']:+.3f} [{eight['ci_low']:+.3f}, {eight['ci_high']:+.3f}]."
    )

# %%
if len(taught) and gained:
    some = [f"{name.partition(':')[2]} {pair.diff:+.3f}" for name, pair in gained.items()]
    clear = [name for name, pair in gained.items() if results.better(pair._asdict())]
    print(f"5. On SST-5 a frozen teacher changes fine accuracy by {', '.join(some)};")
    print(f"   told apart: {', '.join(clear) or 'none'}.")
if has_students:
    for reviews, found in (("8,000", fine_few), ("all", fine_all)):
        some = ", ".join(f"{name} {one['diff']:+.3f}" for name, one in found.items())
        clear = [name for name, one in found.items() if results.better(one)]
        number = 6 + (reviews == "all")
        print(f"{number}. On {reviews} hotel reviews a fine-tuned teacher changes fine accuracy by")
        print(f"   {some}; told apart: {', '.join(clear) or 'none'}.")

# %%
if has_students:
    found = [t for _, t in once_more.iterrows() if t["split"] == "test" and results.better(t)]
    some = [f"{plots.measure(t['metric'])} {t['diff']:+.3f}" for t in found]
    print("8. Kept model minus the pair (seed 1) on the test split; told apart:")
    print(f"   {', '.join(some) or 'no score'}.")

# %% [markdown]
# <a id="exercises"></a>
#
# ## Exercises
#
# 1. How many operations does the pair of two six-layer encoders need for 384 tokens, against three
#    layers for 128?
# 2. Why does a temperature not change the accuracy, and why do the natural shares of stars change
#    the calibration?
# 3. Which is larger in the kept model, the word vectors or the layers?
#
# <details><summary>Solutions</summary>
#
# 1. $2 \cdot C(6)$ at $t = 384$ against $C(3)$ at $t = 128$: four times by depth and number, three
#    times by length, and more by attention: `2 * operations(6, 384, 384, 1536) / operations(3, 128,
#    384, 1536)` is 13.3.
# 2. Dividing all logits of a text by one number keeps their order. Calibration is about the share
#    that is right among texts of one confidence, and that share moves when easy five-star reviews
#    become more frequent.
# 3. A layer has $12 d^2 = 1.77$ million numbers, so five have 8.8; some 7,000 word vectors of 384
#    have 2.7. Unpruned they would have 11.7.
#
# </details>
#
# Next: [`13_your_texts`](13_your_texts.ipynb) uses the small model;
# [`08_results`](08_results.ipynb) lists every stored run.
