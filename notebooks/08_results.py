# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · What was found, beside what was published
#
# Seconds; nothing is trained or scored here. The numbers were stored by the notebooks before it and
# by `python -m mmlib.finetune.rows`, when they were run at full size, by the commands of section 1.
# A run leaves `papermill_runs/<run>/metrics.json`, `comparisons.json` and `provenance.json`; this
# notebook reads those files and `mmlib/scores/reported.toml`, which holds what the papers and their
# peers report. `n_seeds` says how many seeds a row rests on. DAF's rules had spent the same budget
# each before (`python -m mmlib.daf.tune`).
#
# Before this: [`02_daf`](02_daf.ipynb) to
# [`07_dyfulm_interpretability`](07_dyfulm_interpretability.ipynb).

# %% tags=["parameters", "reads-results"]
metrics: str = "mae corr acc2_non0 f1_non0 f1_has0 acc7"  # columns of the tables of sentiment
reviews: str = "acc_coarse acc_coarse_natural acc_fine acc_fine_natural mae r2"  # of reviews
run: str = "interactive"  # a run to show besides the stored ones; interactive: none

# %%
import pandas as pd
from IPython.display import Markdown, display

from mmlib.daf import tune
from mmlib.figures import plots
from mmlib.files import RUNS
from mmlib.scores import results, runs
from mmlib.scores.ledger import judged

plots.style()
pd.set_option("display.max_rows", None, "display.max_columns", None, "display.width", 240)
pd.set_option("display.max_colwidth", None, "display.precision", 3)

# %% [markdown]
# ## 1 · Which runs, and where they came from
#
# A run is kept with the project if a parameter file of it is. `dirty` would mean that the code had
# changes which no commit holds; `seconds` are the notebook's, and for `finetune` the sum over all
# trainings, each from its last start, though they may have run side by side.

# %%
files = {path.stem for path in RUNS.glob("params/*.yaml")}
files |= {path.stem.partition("-")[0] for path in RUNS.glob("finetune/*.yaml")}
kept = [name for name in results.runs() if name in files]
shown = kept + [run] * (run in results.runs() and run not in (*kept, "interactive"))
frames = {name: results.load(name) for name in shown}
print("runs:", ", ".join(shown) or "none yet; the commands above make them")

# %%
origins = [{"run": name, "notebook": notebook, **origin}
           for name in shown for notebook, origin in results.origins(name).items()]  # fmt: skip
columns = ["run", "notebook", "commit", "dirty", "device", "seconds"]
facts = pd.DataFrame(origins, columns=columns)
facts.assign(commit=facts["commit"].str[:9]).set_index(["run", "notebook"])

# %% [markdown]
# The command of each. `make run RUN=mosi PARAMS=papermill_runs/params/mosi.yaml` is the same as
# `python -m mmlib.batch --run mosi --params ...`.

# %%
for command, run_of in {o["command"]: o["run"] for o in origins}.items():
    print(f"{run_of}: {command}\n")

# %%
versions = pd.DataFrame([{"run": o["run"], **o["versions"]} for o in origins])
data = {(o["run"], file): sha[:16] for o in origins for file, sha in o["data"].items()}
display(
    versions.drop_duplicates(ignore_index=True),
    pd.Series(data, name="sha256, first 16", dtype=str).to_frame(),
)

# %% [markdown]
# ## 2 · Scores
#
# On the test split: mean over seeds [95 % interval] ± standard deviation over seeds. The interval
# counts seeds and whole groups, that is videos, hotels, or sentences where nothing groups them, as
# draws (`mmlib.scores.stats`), so it answers "other videos, other seeds"; the deviation answers
# "other seeds" alone. `text_deep` and `text_gated` are text alone at the depth of the fusion rules,
# `ridge` is a linear model. DAF's `variant` names the modalities (`ta`: text and audio; `n`: a
# modality of pure noise; `a>b`: trained on a, tested on b; `t_mpnet`: text by that encoder),
# DyFuLM's what is switched off
# ([`06_dyfulm_ablations`](06_dyfulm_ablations.ipynb) has the list); `single_a` and `single_b` are
# DyFuLM with one encoder. `_natural`: reviews weighted to the shares that the stars have where they
# were drawn from. `constant` is the training median and the most frequent class: the base rate of
# each table.


# %%
def scores(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a data set, model, variant and metric: that with the most seeds, test split."""
    test = frame[frame["split"] == "test"]
    most = test.sort_values("n_seeds", ascending=False, kind="stable")
    return most.drop_duplicates(["dataset", "model", "variant", "metric"])


def wide(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Scores as text, best MAE first within a data set."""
    line = ["dataset", "model", "variant", "n_seeds"]
    order = table[table["metric"] == "mae"].sort_values(["dataset", "mean"])[line]
    form = "{:.3f} [{:.3f}, {:.3f}] ± {:.3f}".format
    text = [form(*row) for row in table[["mean", "ci_low", "ci_high", "sd"]].values]
    cells = table.assign(text=text).pivot(index=line, columns="metric", values="text")
    return cells.loc[pd.MultiIndex.from_frame(order), columns]


# %%
for name, frame in frames.items():
    display(Markdown(f"**{name}**"))
    of_reviews = frame["metric"].eq("acc_fine").any()
    columns = (reviews if of_reviews else metrics).split()
    display(wide(scores(frame), [name for name in columns if name in set(frame["metric"])]))

# %% [markdown]
# The same as pictures: MAE, or accuracy of five classes. Models that are nearer to the constant
# than to the best one are in the table only, so that the others can be told apart. The dotted line
# in `mosi` is the best published system with frozen text (MulT in MMSA's table).

# %%
ledger = judged()
for name, frame in frames.items():
    metric = "acc_fine" if frame["metric"].eq("acc_fine").any() else "mae"
    shown_rows = scores(frame).query("metric == @metric and not dataset.str.contains('>')")
    base = shown_rows.loc[shown_rows["model"] == "constant", "mean"].max()
    best = shown_rows["mean"].max() if metric == "acc_fine" else shown_rows["mean"].min()
    near = shown_rows[~((shown_rows["mean"] - best).abs() > abs(base - best) / 2)]
    if len(near) > 1 and near["dataset"].nunique() == 1:  # a picture of one data set
        peer = ledger.query("dataset == 'mosi' and metric == 'mae' and system == 'MulT'")
        line = {"MulT": peer["reported"].item()} if name == "mosi" else {}
        order = near.sort_values("mean", ascending=metric == "mae")
        figure = plots.intervals(order, metric, reference=line)
        figure.axes[0].set_title(f"{name}, test split", loc="left")
        _ = plots.save(figure, f"08_{name}", run)

# %% [markdown]
# ## 3 · Who beats whom
#
# Two intervals may overlap where the difference is in no doubt, since both models saw the same
# videos or hotels. So each pair is tested as a pair, seed by seed and group by group, and Holm's
# correction is over all of a run's pairs. A model is called better if the interval excludes zero
# and Holm's $p$ is below .05.

# %%
pairs = pd.concat([results.load_comparisons(name).assign(run=name) for name in shown] or
                  [pd.DataFrame(columns=[*results.COMPARISON, "run"])])  # fmt: skip
winners = [results.better(pair) for _, pair in pairs.iterrows()]
pairs["verdict"] = [f"{name} better" if name else "not told apart" for name in winners]
pairs[["run", "a", "b", "metric", "diff", "ci_low", "ci_high", "p", "p_holm", "verdict"]].set_index(
    ["run", "a", "b", "metric"]
)

# %% [markdown]
# ## 4 · What the tuning cost
#
# A comparison is worth as much as the care given to the loser. Every model but `ridge`, which has a
# penalty of its own, chose among the same candidates by cross-validation over the videos of
# training and validation. `worst` is the error of the worst candidate, `near` counts those within
# .005 of the best. Every trial stands in `papermill_runs/settings.json`. CMU-MOSEI and the leaking
# split were not tuned: there all models have one default. The commands:
#
#     python -m mmlib.daf.tune --dataset mosi --modalities text audio
#     python -m mmlib.daf.tune --dataset mosi --modalities text audio --encoder mpnet
#     python -m mmlib.daf.tune --dataset mmmo
#     python -m mmlib.daf.tune --dataset synthetic --utterances 1000
#
# The budget was not always this one. An audit found in this project's history that test rows had
# been stored with 12 candidates, then with 6, 8 and 6 again. DAF's error on CMU-MOSI with the last
# three was .8374, .8395 and .8336, that of concatenation .8359, .8326 and .8367: the order of the
# two flipped. The present budget was fixed before the stored runs were trained with it, but their
# test rows had been seen under those others.

# %%
keys = ("mosi", "mosi-mpnet", "mosi-leak", "mosei", "mmmo", "synthetic")
budget = pd.DataFrame([{"data": key, **line} for key in keys for line in tune.table(key)])
if len(budget):
    assert budget.groupby(["data", "variant"])["candidates"].nunique().eq(1).all()
    budget = budget.set_index(["data", "variant", "rule"])
budget

# %% [markdown]
# ## 5 · The ledger
#
# A line for each published number and claim. A number is `inside` if it lies in our 95 % interval;
# a claim "a beats b" is `inside` if our difference goes that way, excludes zero and survives Holm.
# `outside` is no accusation: `reason` says what differs. `run` and `tested_on` say on which stored
# run and data; `constant` is the base rate there. A value whose convention is not stated has a line
# for each.

# %%
rates = {(name, row.dataset, row.metric): row.mean for name in kept
         for row in scores(frames[name]).query("model == 'constant'").itertuples()}  # fmt: skip
rows = zip(ledger["run"], ledger["tested_on"], ledger["metric"], strict=True)
ledger["constant"] = [rates.get(row, float("nan")) for row in rows]
assert set(ledger["verdict"]) <= {"inside", "outside", "not testable here"}
ledger.groupby(["paper", "verdict"]).size().unstack(fill_value=0)

# %%
ledger["n_seeds"] = ledger["n_seeds"].astype("Int64")
first = ["system", "dataset", "metric", "reported", "mean", "ci_low", "ci_high", "constant"]
rest = ["n_seeds", "verdict", "reason", "run", "tested_on", "hardware", "source"]
entries = ledger[[*first, *rest]].round(3).astype(object)
entries = entries.where(entries.notna(), "")
for paper in ledger["paper"].unique():
    display(Markdown(f"**{paper}**"), entries[ledger["paper"] == paper].set_index("system"))

# %% [markdown]
# ## 6 · Peers on CMU-MOSI, beside ours
#
# MMSA's table (means of 5 seeds) and our runs `mosi` and `mosi-mpnet` on the same split. **The
# encoders differ**: the peers read BERT's token sequences, audio and vision; ours read pooled
# states of MiniLM or MPNet and utterance means of COVAREP, no vision. Some peers chose their epoch
# on the test split. So this compares systems, not fusion rules; within a run of ours the encoder is
# the same for all.
#
# MPNet's test rows had been seen once, untuned, before its budget was frozen: DAF .704, text .723.

# %%
peers = ledger[ledger["paper"].eq("MMSA") & ledger["dataset"].eq("mosi")]
peers = peers.pivot(index=["system", "source"], columns="metric", values="reported")
nothing = pd.DataFrame(columns=results.ROW)
of_run = {name: scores(frames.get(name, nothing)).query("dataset == 'mosi'")
          for name in ("mosi", "mosi-mpnet")}  # fmt: skip
mosi = of_run["mosi"]
ours = []
for name, encoder in (("mosi", "MiniLM"), ("mosi-mpnet", "MPNet")):
    here = of_run[name].query("variant in ['t', 'a', 'ta']")
    here = here.assign(source=f"here, {encoder}, " + here["variant"], system=here["model"])
    ours.append(here.pivot_table(index=["system", "source"], columns="metric", values="mean"))
beside = pd.concat([peers, *ours]).reindex(columns=metrics.split())
beside.sort_values("mae").round(3)

# %% [markdown]
# ## 7 · What failed
#
# First the bars that were set before the runs, on CMU-MOSI and on hotel reviews (there three
# points of each accuracy over a bag of words; meant for three epochs, one was run), then every
# claim of the papers that did not come out, and every rule that DAF did not beat.


# %%
def value(model: str, variant: str, metric: str) -> float:
    """Our mean on CMU-MOSI's test split, NaN if it was not run."""
    row = mosi.query("model == @model and variant == @variant and metric == @metric")
    return next(iter(row["mean"]), float("nan"))


bars = []
if "mosi" in kept:
    text, daf = value("text", "t", "mae"), value("daf", "ta", "mae")
    against = pairs.query("run == 'mosi' and a == 'daf' and b == 'text' and metric == 'corr'")
    low_end = next(iter(against["ci_low"]), float("nan"))
    mult = peers.xs("MulT").iloc[0]
    bars = [
        ("DAF, MAE", daf, "at most", 0.865),
        ("DAF, Corr", value("daf", "ta", "corr"), "at least", 0.73),
        ("DAF - text, Corr, low end", low_end, "at least", -0.01),
        ("DAF, MAE, against MulT", daf, "at most", mult["mae"]),
        ("DAF, Corr, against MulT", value("daf", "ta", "corr"), "at least", mult["corr"]),
        ("cost of noise beside text, MAE", value("daf", "tn", "mae") - text, "at most", 0.005),
        ("cost of noise and audio, MAE", value("daf", "tan", "mae") - text, "at most", 0.005),
    ]
if "hotel" in kept:
    gain = pairs.query("run == 'hotel' and a == 'dyfulm' and b == 'tfidf'").set_index("metric")
    bars += [
        (f"hotel: DyFuLM - bag of words, {name}", gain.loc[name, "diff"], "at least", 0.03)
        for name in ("acc_fine", "acc_coarse")
    ]
bars = pd.DataFrame(bars, columns=["what", "found", "bar", "limit"])
sign = bars["bar"].map({"at most": 1, "at least": -1}).astype(float)
room = sign * (bars["limit"] - bars["found"])
bars["met"] = (room >= 0).map({True: "yes", False: "NO"}).where(room.notna(), "not run")
bars.set_index("what").round(3)

# %%
lost = ledger[ledger["verdict"] == "outside"]
for line in lost[lost["reported"].isna()].itertuples():
    print(f"not confirmed: {line.system}, {line.metric} = {line.mean:+.3f} "
          f"[{line.ci_low:+.3f}, {line.ci_high:+.3f}] in {line.run}")  # fmt: skip
for name, group in pairs[pairs["a"].eq("daf") & pairs["metric"].eq("mae")].groupby("run"):
    for said in ("not told apart", *sorted(set(group["b"] + " better"))):
        others = group.loc[group["verdict"] == said, "b"]
        if len(others):
            print(f"{name}: DAF and {', '.join(others)}, MAE: {said}")

# %% [markdown]
# ## 8 · What changed in our own conclusions
#
# An audit redid these numbers. They came out again, but the main comparison was not fair and the
# tests counted no seeds. What this companion said before stands beside what it says now.
#
# 1. *It said*: DAF beats text alone, and a second branch is a regularisation. Text had one layer,
#    DAF had two. *It says now*: `text_deep` and `text_gated` have that depth; first lines below.
# 2. *It said*: p-values of a permutation within videos. They held the seeds fixed: with few seeds,
#    the audit counted 15 to 21 alarms in 100 worlds without a difference. *It says now*: videos and
#    seeds both count, and at most 7 of 100 worlds raise one (`tests/test_stats.py`).
# 3. *It said*: six candidates a rule, one seed. *It says now*: 20 candidates, three seeds, on file.
# 4. *It said*: the audio of other utterances serves DAF as well, by one random order and no test.
#    *It says now*: five orders and a paired test, `daf:t+shuffled` below.
# 5. *It said*: all of this with MiniLM, the smallest encoder there is. *It says now*: the run
#    `mosi-mpnet` has a base-size one, tuned with the same budget; last lines below.
# 6. *It said*: a gap of .20 between coarse and fine accuracy is a failure. A bag of words has that
#    gap too. *It says now*: the gap is judged against the bag's.
#
# Rows that were stored before the new intervals keep the old ones, of a bootstrap over the same
# groups and seeds: those of `hotel`, `hotel-frozen`, `scope`, `sst5`, `mosei-text`,
# `mosei-dyfulm` and `mosi-leak`. Their p-values hold the seeds fixed.


# %%
def gap(name: str, b: str) -> str:
    """DAF minus b in a run on CMU-MOSI, MAE, as text."""
    pair = pairs.query("run == @name and a == 'daf' and b == @b and metric == 'mae'")
    form = "{diff:+.3f} [{ci_low:+.3f}, {ci_high:+.3f}], p {p_holm:.2g}, {verdict}"
    return form.format(**pair.iloc[0]) if len(pair) else "not run"


for name in ("mosi", "mosi-mpnet"):
    for b in ("text", "text_deep", "text_gated", "daf:t+shuffled", "static", "concat"):
        print(f"{name}, DAF - {b}, MAE: {gap(name, b)}")

# %% [markdown]
# ## 9 · A grid as one table, and two runs side by side
#
# `python -m mmlib.batch daf-table` trains each model of each data set as a point of its own
# (`papermill_runs/grids/daf-table.yaml`). `collect` makes one table of all points; below, the MAE
# [95 % interval] on the test split, 20 seeds.

# %%
grids = [name for name in ("daf-table",) if runs.manifests(name)]
for name in grids:
    found = runs.scores(runs.collect(name), metrics=["mae"])
    found = found.drop_duplicates(["dataset", "model", "variant"])
    display(found.pivot(index="model", columns="dataset", values="mae").fillna(""))

# %% [markdown]
# `compare_runs` pairs the rows that two runs share, seed by seed: the difference of the means, a
# paired $t$ test over the common seeds, Holm over all rows. And it says what the runs were made
# from where that differs. Here the run `mosi` and the grid, which trained the same models apart.

# %%
if grids and "mosi" in kept:
    pair = runs.compare_runs("mosi", "daf-table")
    common = pair[~pair["verdict"].str.startswith("only in")]
    print(common["verdict"].value_counts().to_dict())
    line = ["model", "variant", "mean_a", "mean_b", "diff", "seeds", "p", "p_holm", "verdict"]
    display(common.query("split == 'test' and metric == 'mae'")[line].round(4).set_index(line[:2]))
    origin = runs.differences("mosi", "daf-table")
    display(origin[~origin["what"].isin(["device"])].set_index(["notebook", "what"]))

# %% [markdown]
# ## 10 · The peers, in the same run
#
# Section 6 compares with published numbers of other systems. Here MMSA's own code (2.2.1) trains
# its models beside ours, on one thread of one processor, in the run `peers`.
#
# | variant | whose | what is read |
# |---|---|---|
# | `vectors` | both | MiniLM's states of all layers, pooled, and mean COVAREP; nothing is tuned |
# | `vectors-tuned` | ours | the same numbers, tuned settings |
# | `tokens` | theirs | MiniLM's last layer, at most 50 tokens, padded in front; mean COVAREP |
# | `last` | ours | the mean of that layer over all tokens, and mean COVAREP; nothing is tuned |
#
# Fair: the same split, the same seeds, our definition of each score, and early stopping on the
# validation split on both sides. MMSA keeps the epoch with the lowest validation loss and gives up
# 8 epochs later; only then it reads the test split.
#
# Not fair: our tuned settings were chosen on folds of training and validation. MMSA's models run
# with the settings that it stores for MOSI, which were chosen for BERT, COVAREP and FACET. So our
# rows without tuning stand beside them. And there is no vision here, for which MMSA's models were
# made: they read a column of zeros. MISA does not run: it is written around a BERT that it trains.

# %%
has_peers = "peers" in results.runs()
table = results.load("peers") if has_peers else pd.DataFrame(columns=results.ROW)
means = table[table["metric"] == "mae"].set_index(["model", "variant"])["mean"].sort_values()
columns = ["mae", "corr", "acc2_non0", "f1_non0"]
wide(scores(table), columns).droplevel("dataset") if has_peers else "no run `peers` is stored"

# %% [markdown]
# What a seed costs: CPU seconds of its training and validation (median, and the range over seeds)
# and the peak memory of its process, libraries included. `times` is relative to a seed of
# `daf`, `vectors-tuned`, trained alone. A stack trains our five seeds at once, as the notebooks do.
# NaN: not measured. Other work ran on the same cores, which lengthens CPU seconds a little.

# %%
cost = results.load_table("peers", "cost")
if len(cost):
    cost = cost.set_index(["model", "variant", "trained"])
    cost["times"] = cost["cpu_seconds"] / cost["cpu_seconds"]["daf", "vectors-tuned", "alone"]
    digits = {"times": 1, "epochs": 0, "mib": 0}
    cost = cost.sort_values("times").round(digits)
cost

# %% [markdown]
# Paired tests of DAF against each of MMSA's models. Videos and seeds both count, and Holm's
# correction is over all pairs of this run.

# %%
none = pd.DataFrame(columns=results.COMPARISON)
against = results.load_comparisons("peers") if has_peers else none
winners = [results.better(pair) for _, pair in against.iterrows()]
against["verdict"] = [f"{name} better" if name else "not told apart" for name in winners]
numbers = ["diff", "ci_low", "ci_high", "p", "p_holm", "verdict"]
against.set_index(["a", "b", "metric"])[numbers].round(4)

# %%
for (a, said), group in against[against["metric"] == "mae"].groupby(["a", "verdict"], sort=False):
    others = ", ".join(f"{b} {means[tuple(b.split(':'))]:.3f}" for b in group["b"])
    print(f"{a}, MAE {means[tuple(a.split(':'))]:.3f}; {said}: {others}")
for row in table[table["metric"].eq("mae") & table["sd"].gt(0.05)].itertuples():
    print(f"{row.model}:{row.variant} depends on its seed; MAE of each:", *row.per_seed)
for row in table[table["metric"].eq("corr") & table["mean"].abs().lt(0.01)].itertuples():
    print(f"{row.model}:{row.variant} learns nothing but a constant, with any of its seeds")
for row in results.load_table("peers", "missing").itertuples():
    print(f"not in this run: {row.model}:{row.variant}, seeds {row.seeds}, {row.reason}")
if has_peers:
    is_theirs = cost.index.get_level_values("model").str.startswith("mmsa")
    low, high = cost.loc[is_theirs, "times"].agg(["min", "max"])
    print(f"A seed of those that ran takes {low:.0f} to {high:.0f} times the CPU time of DAF's.")
    print("made by:", results.origins("peers")["peers"]["command"])

# %% [markdown]
# ## Takeaways

# %%
count = ledger["verdict"].value_counts()
print(f"1. Of {len(ledger)} lines of the ledger, {count.get('inside', 0)} are inside, "
      f"{count.get('outside', 0)} outside, {count.get('not testable here', 0)} cannot be tested "
      "with the data at hand.")  # fmt: skip
of_daf = pairs[pairs["a"].eq("daf") & pairs["run"].ne("mosi-leak")]  # its features leak
is_easy = of_daf["b"].str.contains("audio|vision") & of_daf["run"].ne("default")  # weak alone
for what, group in (
    ("text or fusion", of_daf[~is_easy]),
    ("audio or vision alone", of_daf[is_easy]),
):
    decided = group["verdict"].value_counts()
    print(f"2. DAF against {what}: {len(group)} pairs, {decided.get('daf better', 0)} decided for "
          f"DAF, {decided.get('not told apart', 0)} not told apart.")  # fmt: skip
print(f"3. Of {len(bars)} bars set before the runs, {bars['met'].eq('yes').sum()} are met.")
of_dyfulm = ledger[ledger["paper"].eq("DyFuLM") & ledger["reported"].isna()]
for claim, group in of_dyfulm.groupby("system", sort=False):
    print(f"4. DyFuLM, \"{claim}\": {group['verdict'].value_counts().to_dict()}; confirmed:",
          ", ".join(group.loc[group["verdict"].eq("inside"), "metric"]) or "nothing")  # fmt: skip

# %% [markdown]
# To add a number that is published elsewhere, or a row that would test one, edit
# `mmlib/scores/reported.toml`. To see a run of your own here: `make run DATASET=mosi RUN=mine`, and
# its table and its pairs stand beside the stored ones.
