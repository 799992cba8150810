"""Real recordings and real face exports, where they are."""

import numpy as np
import pandas as pd
import pytest

from mmlib.data import DataError
from mmlib.data.columns import FACET
from mmlib.files import data_root
from mmlib.recordings import Options, build, read_faces

SPEECH = data_root().parent / "covarep" / "reference"
FACES = data_root() / "faces"
EMODB = sorted(SPEECH.glob("emodb_*.wav"))
RANDOM = ("HMPDM_24", "HMPDD")  # random numbers in the original


@pytest.mark.skipif(not SPEECH.is_dir(), reason="no data")
@pytest.mark.parametrize("path", EMODB, ids=lambda path: path.stem)
def test_emodb_has_the_references_length_and_means(tmp_path, path):
    text = tmp_path / "words.txt"
    text.write_text("Der Lappen liegt auf dem Eisschrank.")
    clip = build(path, text)
    reference = pd.read_csv(path.with_suffix(".csv")).fillna(0)
    assert clip.seconds == pytest.approx(len(reference) / 100, abs=0.02)
    audio = clip.sequences["audio"]
    kept = [name for name in audio.columns if not name.startswith(RANDOM)]
    ours, theirs = audio.only(kept)[0][0], reference[kept].mean()
    assert (np.abs(ours - theirs) <= 1e-2 * reference[kept].std() + 1e-6).all()


@pytest.mark.skipif(not SPEECH.is_dir(), reason="no data")
def test_other_rates_keep_pitch_and_length(tmp_path):
    for path in sorted(SPEECH.glob("emodb22k_*b*.wav"))[:3]:
        (tmp_path / "words.txt").write_text("Worte.")
        clip = build(path, tmp_path / "words.txt", options=Options(level="frame"))
        reference = pd.read_csv(path.with_suffix(".csv"))
        ours = pd.DataFrame(clip.sequences["audio"].values, columns=clip.sequences["audio"].columns)
        assert abs(len(ours) - len(reference)) <= 1
        n = min(len(ours), len(reference))
        assert (ours["VUV"][:n] == reference["VUV"][:n]).mean() > 0.95
        voiced = (ours["VUV"][:n] == 1) & (reference["VUV"][:n] == 1)
        assert (ours["F0"][:n] - reference["F0"][:n])[voiced].abs().median() <= 1


@pytest.mark.skipif(not FACES.is_dir(), reason="no data")
@pytest.mark.parametrize(
    "name, stimulus, program, frames, lost, absent",
    [
        ("iMotions_Test_v6.txt", None, "FACET", 519, 215, ()),
        ("iMotions_Test_v5.txt", "Emotient_Baseline", "FACET", 179, 21,
         ("Confusion", "Frustration")),
        ("OpenFace_Test.csv", None, "OpenFace 2", 100, 0, ("AU18", "AU24")),
    ],
)  # fmt: skip
def test_real_exports(name, stimulus, program, frames, lost, absent):
    found = read_faces(FACES / name, 60, stimulus=stimulus)
    assert (found.program, found.absent) == (program, absent)
    assert found.counts == {"frames": frames, "lost": lost, "several faces": 0}
    assert found.values.shape == (frames - lost, 35) and np.isfinite(found.values).all()
    at = {channel: found.values[:, i] for i, channel in enumerate(FACET)}
    assert np.array_equal(at["Positive"], at["Joy"])
    five = [at[emotion] for emotion in ("Anger", "Fear", "Contempt", "Disgust", "Sadness")]
    assert np.allclose(at["Negative"], np.max(five, axis=0)), "FACET's own rule, and ours"


@pytest.mark.skipif(not FACES.is_dir(), reason="no data")
def test_a_real_export_of_two_stimuli_needs_a_choice():
    with pytest.raises(DataError, match="several stimuli"):
        read_faces(FACES / "iMotions_Test_v5.txt", 60)
