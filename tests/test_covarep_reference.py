"""The 74 features against the original program's own output on real speech."""

from pathlib import Path

import agreement
import numpy as np
import pandas as pd
import pytest
from agreement import compare, pair, table

from mmlib.covarep import CovarepError, extract, read_wav
from mmlib.files import data_root

ROOT = Path(__file__).parents[1]
FOLDER = data_root().parent / "covarep" / "reference"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no data")
SPEECH = sorted(FOLDER.glob("*.wav"))
RATES = sorted((FOLDER / "extra_edge").glob("rate*.wav"))
EDGES = [FOLDER / "extra_edge" / f"edge_{n}.wav" for n in ("noise_unvoiced", "short_0p9s")]
SILENCE = [
    FOLDER / "emodb22k_03a04Ad.wav",
    FOLDER / "extra_edge" / "edge_zero_padded.wav",
]

# least r, largest median error in standard deviations
CRITERIA = {
    "F0": (0.9999, 1e-4),
    "NAQ": (0.9995, 1e-4),
    "QOQ": (0.9995, 1e-4),
    "H1H2": (0.9995, 1e-4),
    "PSP": (0.999, 1e-4),
    "MDQ": (0.999, 1e-4),
    "peakSlope": (0.99999, 1e-5),
    "Rd": (0.995, 1e-4),
    "Rd_conf": (0.999, 1e-4),
    **{f"MCEP_{i}": (0.9999, 1e-4) for i in range(25)},
    "HMPDD_0": (0.9995, 5e-3),
    **{f"HMPDD_{i}": (0.998, 0.02) for i in range(1, 13)},
}


@pytest.fixture(scope="module")
def measured():
    return {path: pair(path) for path in (*SPEECH, *RATES)}


@pytest.mark.parametrize("paths", [SPEECH, RATES], ids=["speech", "rates"])
def test_features_meet_the_specification(measured, paths):
    found = compare(measured[path] for path in paths)
    relative = found["median"] / found["sd"]
    for name, (r, median) in CRITERIA.items():
        assert found.loc[name, "r"] >= r and relative[name] <= median, found.loc[name]
    assert found.loc["F0", "close"] >= 0.995
    assert found.loc["VUV", "close"] >= 0.998
    assert found.loc["creak", "worst"] == 0
    means = found.loc[[f"HMPDM_{i}" for i in range(24)]]
    assert (means["close"] >= 0.99).all() and (means["median"] <= 1e-4).all()
    assert (means["worst"][means["sd"] < 1e-6] < 1e-6).all()
    assert found.loc["HMPDM_24", "cosine"] >= 0.98 and found.loc["HMPDM_24", "median"] <= 0.06


@pytest.mark.parametrize("path", SPEECH + RATES, ids=lambda path: path.stem)
def test_every_file_is_finite_and_equally_voiced(measured, path):
    ours, reference, _ = measured[path]
    assert np.isfinite(ours.to_numpy()).all()
    assert (ours["VUV"] == reference["VUV"]).mean() >= 0.99


def test_agreement_is_inside_the_noise_floor_of_the_original(measured):
    found = table(compare(measured[path] for path in SPEECH))
    assert (found["r"] >= found["shift_r"] - 1e-4).all()
    assert (found["median"] <= found[["shift_median", "repeat_median"]].max(axis=1) + 1e-5).all()


def cells(text: str) -> dict[str, list[float]]:
    """Numbers of each feature of a table of agreement somewhere in a text."""
    lines = [line.lstrip("# ") for line in text.splitlines()]
    table = lines[lines.index(agreement.HEADER) + 2 :][: len(agreement.NOISE_FLOOR)]
    rows = [line.strip("| ").split(" | ") for line in table]
    return {name: [float(value) for value in values] for name, *values in rows}


@pytest.mark.parametrize("place", ["notebooks/book/covarep.md", "notebooks/01c_covarep.py"])
def test_agreement_stands_in_the_texts_as_the_command_prints_it(
    measured, place, monkeypatch, capsys
):
    monkeypatch.setattr(agreement, "pair", measured.__getitem__)
    assert agreement.main(str(FOLDER)) == 0
    printed, written = cells(capsys.readouterr().out), cells((ROOT / place).read_text())
    assert list(printed) == list(written)
    for name, values in printed.items():
        (median, p95, r), floor = values[:3], values[3:]
        assert floor == written[name][3:] and abs(r - written[name][2]) < 2e-5
        # Rounding differs from machine to machine.
        np.testing.assert_allclose((median, p95), written[name][:2], rtol=0.5, atol=1e-5)


@pytest.mark.parametrize("path", EDGES, ids=lambda path: path.stem)
def test_noise_and_short_files_agree(path):
    ours, reference, good = pair(path)
    columns = [name for name in ours if not name.startswith("HMPD")]
    apart = (ours - reference).abs().where(good)[columns]
    assert apart.median().max() < 1e-5
    assert (apart > 0.02).sum().sum() < 0.001 * apart.size


@pytest.mark.parametrize("path", RATES, ids=lambda path: path.stem)
def test_pulses_agree_at_every_rate(measured, path):
    ours, reference, good = measured[path]
    names = ["NAQ", "QOQ", "PSP"]
    apart = (ours - reference).abs().where(good)[names]
    assert (apart > 1e-7).sum().sum() < 0.003 * len(apart)  # of three columns, .1 % of the rows


@pytest.mark.parametrize("path", SILENCE, ids=lambda path: path.stem)
def test_digital_silence(path):
    ours, reference, good = pair(path)
    pd.testing.assert_series_equal(ours["F0"], reference["F0"], atol=1e-6)
    assert (ours["F0"] == 1).sum() >= 10 and (ours["VUV"][ours["F0"] == 1] == 0).all()
    names = ["NAQ", "MDQ", "peakSlope", "Rd", *(f"MCEP_{i}" for i in range(25))]
    apart = (ours - reference).abs().where(good)[names]
    assert apart.median().max() < 1e-5 and (apart > 0.02).sum().sum() < 0.001 * apart.size
    assert np.isfinite(ours.to_numpy()).all() and not np.isfinite(reference.to_numpy()).all()


@pytest.mark.parametrize("name, message", [("all_zero", "constant"), ("short_0p7s", "0.82 s")])
def test_files_without_reference_are_refused(name, message):
    path = FOLDER / "extra_edge" / f"edge_{name}.wav"
    assert not path.with_suffix(".csv").exists()
    with pytest.raises(CovarepError, match=message):
        extract(*read_wav(path))


@pytest.mark.parametrize("name", ["arctic_a0007", "emodb22k_13b02Nb"])
def test_closure_instants_are_the_same(name):
    from mmlib.covarep.recording import checked
    from mmlib.covarep.stages import Stages

    stages = Stages(*checked(*read_wav(FOLDER / f"{name}.wav")), set(), 0)
    theirs = pd.read_csv(FOLDER / "intermediates" / name / "gci.csv").to_numpy()[:, 0]
    assert len(np.intersect1d(stages.gci, theirs)) >= 0.99 * max(len(theirs), len(stages.gci))
