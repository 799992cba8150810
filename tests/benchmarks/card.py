"""The card of the kept model, from card.md, its card.json and the stored run `compression-hotel`.

    python tests/benchmarks/card.py    # writes mmlib/dyfulm/weights/README.md

In card.md measured values are {braces}, which this fills in. Data and limits are in words there.
"""

from pathlib import Path

from mmlib.dyfulm import kept
from mmlib.files import write_whole
from mmlib.scores import results

RUN = "compression-hotel"


def cells(model: str, ending: str = "", kind: str = "kept") -> str:
    """Test scores of a model with their intervals, as the cells of one line of the table.

    kind: of the stored rows, the name of the command of compression.py.
    """
    rows = results.load(RUN).query(f"split == 'test' and notebook == 'compression-{kind}'")
    one = rows[rows["model"] == model].set_index("metric")
    lines = [one.loc[name + ending] for name in ("acc_coarse", "acc_fine", "mae")]
    return " | ".join(f"{r['mean']:.3f} [{r.ci_low:.3f}, {r.ci_high:.3f}]" for r in lines)


def text(folder: Path = kept.WEIGHTS) -> str:
    """The whole card, which is the README.md of the weights."""
    model, read = kept.load(folder), results.load_table(RUN, "read").iloc[0]
    errors = results.load_table(RUN, "calibration").to_dict("records")
    facts = {"card": model.card, "read": read, "words": model.tokenizer.get_vocab_size()}
    facts["million"] = sum(x.numel() for x in model.student.state_dict().values()) / 1e6
    facts["mb"] = (folder / kept.NUMBERS).stat().st_size / 1e6
    facts["percent_cut"] = 100 * read["cut"]
    for name in ("single_a", "tfidf", "constant"):
        facts |= {name: cells(name), f"{name}_natural": cells(name, "_natural")}
    facts["again_coarse"], facts["again_fine"], _ = cells("single_a", kind="again").split(" | ")
    for e in errors:
        shown = f"{e['ece']:.3f} [{e['ci_low']:.3f}, {e['ci_high']:.3f}]"
        facts[f"ece_{e['head']}_{e['kind'].replace(' ', '_')}"] = shown
    gaps = results.load_table(RUN, "calibration_gaps").to_dict("records")
    facts |= {f"holm_{g['head']}": g["p_holm"] for g in gaps}
    facts |= {
        f"gap_{g['head']}": "{diff:.3f} [{ci_low:.3f}, {ci_high:.3f}]".format(**g) for g in gaps
    }
    tests = results.load_comparisons(RUN).query(
        "b == 'dyfulm:teacher, 384 tokens' and split == 'test'"
    )
    for t in tests.itertuples():
        ends = -t.diff, -t.ci_high, -t.ci_low
        ends = (t.diff, t.ci_low, t.ci_high) if t.metric == "mae" else ends
        shown = "{:.3f} [{:.3f}, {:.3f}]".format(*ends)  # by how much the pair is better
        kind = t.notebook.removeprefix("compression-")  # again or repeated
        facts[f"{kind}_pair_{t.metric.removeprefix('acc_')}"] = shown
        facts[f"{kind}_holm_{t.metric}"] = t.p_holm
    facts["digest"] = {name.partition(".")[0]: x for name, x in model.card["sha256"].items()}
    return Path(__file__).with_suffix(".md").read_text().format(**facts)


if __name__ == "__main__":
    write_whole(kept.WEIGHTS / "README.md", text())
