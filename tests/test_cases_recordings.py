"""Inputs after public bug reports that once were misread in silence, where they are.

They lie beside the project; the smallest of their kind are made anew in test_media.py.
"""

from pathlib import Path

import numpy as np
import pytest

from mmlib.data import DataError
from mmlib.data.columns import FACET
from mmlib.files import ROOT, data_root
from mmlib.recordings import build, read_faces, read_transcript
from mmlib.recordings.decode import RATE, load, probe

PLACES = (ROOT.parent / "shared" / "cases" / "data", data_root().parent / "cases" / "data")
CASES = next(filter(Path.is_dir, PLACES), PLACES[0])
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no cases")

TWICE, FUN = "I went to see it twice.", "It was great fun."
ROLLED = "today we look at a small film that I saw last week with my sister."
MENDED = {"words or cues whose times ran backwards, mended": 2}
UNTIMED = {"words without a time of their own, put with a neighbour": 1}
CUT = {"words or cues cut at the clip's end": 1}
SEGMENT = {"segments with words that have no times or lack some, read as one piece": 1}
REPEATED = {"cues that repeat the one before (rolling captions), repetition left out": 5}


@pytest.mark.parametrize(
    "case, expected, counts",
    [
        ("12_youtube_rolling_srt/clip.srt", [(ROLLED, 0.5, 7.99)], REPEATED),
        ("12_youtube_rolling_vtt/clip.vtt", [(ROLLED, 0.5, 7.99)], REPEATED),
        ("13_srt_blank_inside/clip.srt",
         [("The first line is here and this belongs to it too.", 0.5, 2.5),
          ("Second cue.", 3, 5)], {}),
        ("13_srt_long_fraction/clip.srt", [("The first cue.", 1.2491, 2.2518)], {}),
        ("13_srt_no_milliseconds/clip.srt",
         [("The first cue.", 0, 2), ("Second cue.", 3.5, 5.2)], {}),
        ("14_faster_whisper_list/clip.json", [(TWICE, 0, 4)], SEGMENT),
        ("14_hf_chunks/clip.json", [(TWICE, 0, 4), (FUN, 4, 9.9)], {}),
        ("14_openai_api_words/clip.json", [(TWICE, 0, 2.9), (FUN, 3, 4.9)], {}),
        ("14_whisper_cpp/clip.json", [(TWICE, 0, 4)], {}),
        ("14_whisper_end_beyond_clip/clip.json", [(TWICE, 0, 4), (FUN, 4, 9.9)], CUT),
        ("14_whisper_segments_as_lists/clip.json", [(TWICE, 0, 4), (FUN, 4, 8)], {}),
        ("14_whisper_zero_and_negative/clip.json", [("I saw it.", 0, 0.5)], MENDED),
        ("14_whisperx_nan/clip.json", [("I saw 2 films.", 0.1, 1.9)], UNTIMED),
    ],
)  # fmt: skip
def test_transcripts(case, expected, counts):
    transcript = read_transcript(CASES / case, 9.9)
    assert [u.text for u in transcript.utterances] == [text for text, *_ in expected]
    times = [(u.start, u.end) for u in transcript.utterances]
    assert np.array(times) == pytest.approx(np.array([row[1:] for row in expected]), abs=1e-5)
    assert transcript.counts == counts and transcript.timed


def test_rolling_captions_keep_the_times_between_their_words():
    (utterance,) = read_transcript(CASES / "12_youtube_rolling_vtt" / "clip.vtt", 9.9).utterances
    assert [piece.text for piece in utterance.pieces] == ROLLED.split()
    assert [piece.start for piece in utterance.pieces[:6]] == [0.5, 0.9, 1.3, 1.7, 2.1, 3.0]


def test_an_alignment_that_lost_the_thread_is_refused():
    with pytest.raises(DataError, match=r"\A[^\n]*35 of 48 words have no time[^\n]*\Z"):
        read_transcript(CASES / "20_gentle_mostly_unaligned" / "clip.json", 60)


@pytest.mark.parametrize(
    "case, frames, first, counts",
    [
        ("15_openface_multi", 80, 0.8, (100, 20, 40)),  # of the one seen in most frames, alone
        ("15_openface_nan_ind", 97, 0, (100, 3, 0)),
        ("15_openface_vfr", 130, 0, (130, 0, 0)),
        ("19_pyfeat_ghost_faces", 100, 0, (100, 0, 10)),
    ],
)
def test_faces(case, frames, first, counts):
    faces = read_faces(CASES / case / "clip.csv", 5.2, frame_rate=25)
    brow = {"15_openface_multi": 2, "15_openface_nan_ind": 0.5, "19_pyfeat_ghost_faces": 0.60206}
    assert faces.values[:, FACET.index("AU1")] == pytest.approx(brow.get(case, 0))
    assert (len(faces.time), faces.time[0]) == (frames, pytest.approx(first))
    assert tuple(faces.counts.values()) == counts


def test_an_export_of_a_variable_frame_rate_is_not_laid_over_another_length():
    with pytest.raises(DataError, match="one of variable frame rate"):
        read_faces(CASES / "15_openface_vfr" / "clip.csv", 4)


def test_faces_without_times_are_refused_with_a_way_out():
    with pytest.raises(DataError, match=r"\A[^\n]*run OpenFace's FeatureExtraction[^\n]*\Z"):
        read_faces(CASES / "15_openface_images" / "clip.csv", 4, frame_rate=25)


@pytest.mark.parametrize(
    "name, seconds",
    [("rate8k", 1.5), ("rate48k", 1), ("pcm24", 1.5), ("ref16k", 1.5), ("high_f0_8k", 1.5),
     ("digital_silence_around", 1.625), ("short_039", 0.39), ("stereo44k_left_silent", 1)],
)  # fmt: skip
def test_waves(tmp_path, name, seconds):
    path = CASES / "16_covarep_waves" / f"{name}.wav"
    assert probe(path).seconds == pytest.approx(seconds)
    assert len(load(path)) == pytest.approx(seconds * RATE, abs=2)
    (tmp_path / "a.txt").write_text("All of it.")
    clip = build(path, tmp_path / "a.txt")
    assert clip.sequences["audio"].lengths.tolist() == [int(seconds > 0.82)]
    assert any("silent channel" in note for note in clip.counts) == (
        name == "stereo44k_left_silent"
    )
