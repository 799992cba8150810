"""The 74 features on known values and on synthetic voices of known pitch and glottal shape."""

import math
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from itertools import pairwise
from pathlib import Path
from threading import Event

import agreement
import numpy as np
import pandas as pd
import pytest
from scipy import fft, signal
from scipy.io import wavfile
from threadpoolctl import threadpool_info, threadpool_limits

from mmlib.covarep import (
    FEATURES,
    CovarepError,
    conventions,
    envelope,
    extract,
    extract_files,
    glottal,
    iaif,
    lf,
    lpc,
    phase,
    rd,
    stages,
    utterance_means,
    wavelets,
    zoom,
)
from mmlib.covarep.__main__ import main
from mmlib.covarep.conventions import decibel
from mmlib.covarep.recording import LONGEST
from mmlib.covarep.sinusoids import harmonic_analysis, spectral_peaks
from mmlib.covarep.stages import Stages
from mmlib.covarep.threads import one_blas_thread
from mmlib.covarep.voice import synthesise
from mmlib.data import load
from mmlib.files import ROOT
from mmlib.recordings.demo import spoken

EXPECTED = Path(__file__).with_name("covarep_expected.csv")
VOICES = {  # sample rate, F0 from, to, Rd
    "man": (16000, 100, 130, 1.0),
    "woman": (22050, 240, 190, 1.7),
    "telephone": (8000, 150, 180, 0.7),
}


def voice(name: str, seconds: float = 1.0):
    rate, low, high, shape = VOICES[name]
    return synthesise(
        np.linspace(low, high, int(seconds * rate)), shape, sample_rate=rate, noise=0.02
    )


@pytest.fixture(scope="module")
def tables():
    return {name: extract(voice(name).wave, VOICES[name][0]) for name in VOICES}


# Values of the specification, section 21.


@pytest.mark.parametrize(
    "shape, te, tp, ta, epsilon, alpha, g",
    [
        (0.3, 0.352248, 0.279695, 0.0044, 227.27273, 10.03871, 0.0425 - 8.1107j),
        (1.0, 0.650015, 0.484363, 0.0380, 26.31315, 2.80652, -6.5500 + 17.4808j),
        (2.5, 0.789783, 0.519936, 0.1100, 7.00686, 0.56373, 7.0408 + 4.5444j),
    ],
)
def test_lf_model(shape, te, tp, ta, epsilon, alpha, g):
    pulse = lf.pulse(shape)
    np.testing.assert_allclose(pulse[:5], (te, tp, ta, epsilon, alpha), rtol=2e-6, atol=5e-6)
    at_100_hz = lf.spectrum(pulse, np.array([2.0]))[0] * 16000 / 100
    assert abs(at_100_hz - g) < 1e-4


def test_lf_waveform_has_the_spectrum():
    time = (np.arange(20000) + 0.5) / 20000
    series = np.exp(-2j * np.pi * np.outer([1, 5], time)) @ lf.waveform(1.2, time) / 20000
    np.testing.assert_allclose(lf.spectrum(lf.pulse(1.2), np.array([1, 5])), series, atol=1e-4)


def test_filters():
    b, a = conventions.elliptic_highpass(50, 30, 16000)
    np.testing.assert_allclose(b[:3], [0.94744884, -4.73702866, 9.47384178], atol=1e-8)
    np.testing.assert_allclose(a[1:3], [-4.89348781, 9.57661721], atol=1e-8)
    taps = iaif.highpass_taps(16000)
    assert len(taps) == 301 and len(iaif.highpass_taps(22050)) == 415
    np.testing.assert_allclose(
        taps[[150, 151, 0]], [0.99337382, -0.00662563, -6.1666e-5], rtol=1e-5
    )


def test_peaks():
    y = np.array([0, 3, 1, 2.5, 0, 1, 5, 5, 2, 0, 4, 0])
    row, place = conventions.peaks(y[None])
    kept, _ = glottal.thin(row, place, y[place], np.array([2.0]))
    assert (place[kept] + 1).tolist() == [2, 7, 11]
    _, position, height = spectral_peaks(y[None])
    np.testing.assert_allclose(position + 1, [2.1, 3.875, 7.5, 11.0])
    np.testing.assert_allclose(height, [3.025, 2.53125, 5.5, 4.0], rtol=0.1)


def test_cepstrum_prediction_and_wavelet():
    slope = np.exp(-3 * np.arange(513) / 512)
    expected = [-0.92798066, 1.0953159, -0.32992912, 0.18666796, -0.09205196]
    np.testing.assert_allclose(
        envelope.warped_cepstrum(slope[None], 16000, 4)[0], expected, atol=1e-7
    )
    s = np.sin(2 * np.pi * 0.01 * np.arange(401)) * np.hanning(401)
    expected = [1, -3.99051367, 5.98010250, -3.98862613, 0.99905417]
    np.testing.assert_allclose(lpc.lpc(s[None], 4)[0], expected, rtol=1e-5)  # nearly singular
    expected = [-1, -0.68535139, 0, 0.53375220, 0.60653066, 0.32373708]
    np.testing.assert_allclose(wavelets.wavelet(4)[wavelets.HALF :][:6], expected, atol=1e-8)


# Fast forms against the plain ones.


def test_prediction_error_is_a_filter():
    random = np.random.default_rng(0)
    frames, a = random.normal(size=(3, 50)), random.normal(size=(3, 6))
    plain = [np.convolve(s, c)[:50] for s, c in zip(frames, a, strict=True)]
    np.testing.assert_allclose(lpc.prediction_error(frames, a), plain, atol=1e-12)


@pytest.mark.parametrize(
    "length, points, top", [(1598, 16000, 2500), (481, 22050, 3000), (90, 97, 40)]
)
def test_zoomed_spectrum_is_the_dft(length, points, top):
    frames = np.random.default_rng(0).normal(size=(2, length))
    plain = np.abs(np.fft.rfft(frames, points))[:, :top]
    found = np.sqrt(zoom.power_spectrum(frames, points, top))
    np.testing.assert_allclose(found, plain, atol=1e-10 * plain.max())


def test_minimum_phase_is_the_folded_cepstrum():
    level = np.random.default_rng(0).normal(size=13)
    cepstrum = np.fft.irfft(level)
    cepstrum[1:12] *= 2
    cepstrum[13:] = 0
    np.testing.assert_allclose(rd.minimum_phase(12) @ level, np.fft.fft(cepstrum).imag[1:9])


def test_rd_search_takes_brents_steps():
    from scipy.optimize import fminbound

    def error(x, rows):
        return np.sin(5 * x + rows) + 0.1 * x

    found, _ = rd.minimise(error, 6)
    alone = [fminbound(error, 0.3, 2.5, (i,), 0.01, 33) for i in range(6)]
    np.testing.assert_allclose(found, alone, atol=1e-9)


def test_median_and_smoothing_along_frames():
    rows = np.random.default_rng(0).normal(size=(80, 4))
    padded = np.pad(rows, ((4, 4), (0, 0)))
    plain = [np.median(padded[i : i + 9], axis=0) for i in range(len(rows))]
    np.testing.assert_array_equal(phase.median_of_nine(rows), plain)
    plain = signal.filtfilt(phase.BOX25, 1, rows, axis=0, padlen=3 * 24)
    np.testing.assert_allclose(phase.both_ways(rows, phase.BOX25), plain, atol=1e-12)


def test_phase_statistics_do_not_depend_on_the_parts():
    distortion = np.random.default_rng(0).uniform(-np.pi, np.pi, (300, 513))
    whole = phase.window_statistics(distortion, 16000)
    parts = np.split(distortion, [70, 110, 250])
    joined = np.concatenate(list(phase.statistics(parts, 300, 16000)))
    np.testing.assert_allclose(joined, whole, rtol=0, atol=1e-9)


def exact_both_ways(rows, taps):
    """`phase.both_ways` term by term, summed without rounding."""
    twice, reach = np.convolve(taps, taps), len(taps) - 1
    rows = rows.astype(float)
    ends = 2 * rows[0] - rows[reach:0:-1], 2 * rows[-1] - rows[-2 : -reach - 2 : -1]
    padded = np.concatenate([ends[0], rows, ends[1]])
    return np.array([math.fsum(twice * padded[i : i + len(twice)]) for i in range(len(rows))])


def test_angle_of_a_short_resultant_is_right():
    """Five directions cancel but for one part in 50 million, which has an angle all the same."""
    frame = np.arange(200)
    angle = 2 * np.pi / 5 * frame + 1e-4 * np.sin(frame)
    sine, cosine = np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)
    exact = [exact_both_ways(v, phase.BOX25) for v in (sine, cosine)]
    assert np.median(np.hypot(*exact)) < 3e-8
    mean = phase.direction(*(phase.both_ways(v[:, None], phase.BOX25) for v in (sine, cosine)))
    apart = conventions.wrap(np.arctan2(*mean)[:, 0] - np.arctan2(*exact))
    np.testing.assert_allclose(apart, 0, atol=1e-7)


def test_what_rounding_leaves_of_a_resultant_has_an_angle_of_0():
    nothing = 1e-17 * np.array([1.0, -1.0, 0.0])
    sine, cosine = phase.direction(nothing, nothing[::-1].copy())
    assert sine.tolist() == [0, 0, 0] and cosine.tolist() == [1, 1, 1]


def test_cosine_sums_are_transforms():
    random = np.random.default_rng(0)
    spectrum, cepstra = random.normal(size=(2, 2049)), random.normal(size=(2, 60))
    tables = envelope.factors(60)
    wide = np.pad(spectrum, ((0, 0), (0, envelope.BLOCK - 1)), mode="reflect").astype(np.float32)
    plain = fft.irfft(spectrum, axis=1)
    np.testing.assert_allclose(envelope.power(wide), np.sum(plain**2, axis=1), rtol=1e-5)
    found = envelope.mean_cosines(wide, *tables)
    np.testing.assert_allclose(found, plain[:, :60], atol=1e-6)
    found = envelope.cosine_sum(cepstra.astype(np.float32), *tables, out=wide)[:, :2049]
    plain = fft.dct(cepstra, 1, n=2049, axis=1)
    np.testing.assert_allclose(found, (plain + cepstra[:, :1]) / 2, atol=1e-4)


def test_envelope_lies_on_the_harmonics():
    bins = np.arange(2049)
    spectrum = 3 * np.cos(np.pi * bins / 700) - 4 * np.abs(np.sin(np.pi * bins / 40))  # 40: a comb
    found = envelope.true_envelope(np.stack([spectrum] * 2), np.array([50, 60]))
    top = bins[200:1800][bins[200:1800] % 40 == 0]
    assert (spectrum - found).max() < envelope.CLOSE + 1e-5
    assert np.abs(found[:, top] - 3 * np.cos(np.pi * top / 700)).max() < 0.5


# Voices of known truth.


@pytest.mark.parametrize("name", VOICES)
def test_voice_is_measured_as_before(tables, name):
    expected = pd.read_csv(EXPECTED, index_col=0)[name]
    found = tables[name].iloc[15:-15].median()
    steady = expected.index != "HMPDM_24"  # random phases are in it
    np.testing.assert_allclose(found[steady], expected[steady], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", VOICES)
def test_pitch_and_closures_are_those_of_the_voice(tables, name):
    truth, rate = voice(name), VOICES[name][0]
    table = tables[name].iloc[5:-5]
    f0 = truth.f0[np.rint(table.index * rate).astype(int) - 1]
    assert np.abs(table["F0"] - f0).quantile(0.95) < 1.5 and (table["VUV"] == 1).all()
    gci = Stages(truth.wave, rate, set(), 0).gci
    distance = np.abs(gci[:, None] - truth.closures).min(axis=1)
    assert np.quantile(distance, 0.95) < 0.0005 * rate


def test_relaxed_voice_has_larger_rd_naq_and_h1h2():
    names = ["Rd", "NAQ", "QOQ", "H1H2", "PSP", "MDQ"]
    medians = [
        extract(synthesise(np.full(16000, 120.0), shape).wave, 16000, names).median()
        for shape in (0.5, 1.0, 1.8)
    ]
    # NAQ alone turns back: the formants leak into a flow that is nearly a sine.
    rising = ["Rd", "QOQ", "H1H2", "PSP", "MDQ"]
    assert all((b > a)[rising].all() for a, b in pairwise(medians))


def test_published_rd_is_that_of_the_voice():
    truth = np.linspace(0.6, 2.2, 24000)
    made = synthesise(np.full(24000, 120.0), truth, noise=0.01)
    stages = Stages(made.wave, 16000, set(), 0)
    centre, f0 = stages.centres
    frames = harmonic_analysis(stages.wave, centre, f0, 16000)
    apart = [
        np.abs(rd.estimate_rd(frames, published)[:, 0] - truth[centre]) for published in (0, 1)
    ]
    assert np.median(apart[1]) < 0.06 < np.median(apart[0])  # the original's missing conjugation


def test_unvoiced_part_is_unvoiced():
    f0 = np.where(np.arange(24000) < 12000, 130.0, 0.0)
    table = extract(synthesise(f0, noise=0.05).wave, 16000, ["VUV"])["VUV"]
    assert table[0.1:0.65].mean() > 0.95 and table[0.85:1.4].mean() < 0.1


def test_the_module_that_extract_was_is_still_found_by_its_name():
    code = """
from mmlib.covarep.extract import Stages
import mmlib.covarep.stages
from mmlib.covarep import extract
assert Stages is mmlib.covarep.stages.Stages and extract is mmlib.covarep.stages.extract
import mmlib.covarep.extract
assert mmlib.covarep.extract is extract
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# The table.


def test_table_and_subsets(tables):
    table = tables["man"]
    assert tuple(table) == FEATURES and len(FEATURES) == 74
    assert table.index.name == "seconds" and np.allclose(np.diff(table.index), 0.01)
    assert np.isfinite(table.to_numpy()).all() and (table["creak"] == 0).all()
    names = ["MCEP_3", "F0", "Rd", "HMPDM_10"]
    pd.testing.assert_frame_equal(extract(voice("man").wave, 16000, names), table[names])


def test_same_bits_again_and_seeds_touch_only_random_phases(tables):
    again = extract(voice("man").wave, 16000)
    assert again.to_numpy().tobytes() == tables["man"].to_numpy().tobytes()
    other = extract(voice("man").wave, 16000, seed=1)
    differ = [name for name in FEATURES if not other[name].equals(again[name])]
    assert differ and all(name == "HMPDM_24" or name.startswith("HMPDD") for name in differ)


@pytest.mark.parametrize(
    "same",
    [
        lambda x: (32767 * x).astype(np.int16) / 32768,
        lambda x: np.stack([(32767 * x).astype(np.int16), np.zeros(len(x), np.int16)], axis=1),
        lambda x: -(32767 * x).astype(np.int16).astype(np.int32) * 65536,
    ],
    ids=["float", "stereo", "inverted int32"],
)
def test_forms_of_the_same_wave(same):
    x = voice("man").wave
    names = ["F0", "NAQ", "Rd", "MCEP_1"]
    expected = extract((32767 * x).astype(np.int16), 16000, names)
    pd.testing.assert_frame_equal(extract(same(x), 16000, names), expected)


def test_clipped_wave_is_finite():
    x = voice("man").wave
    assert np.isfinite(extract(np.clip(4 * x, -0.9, 0.9), 16000).to_numpy()).all()


def test_silence_inside_a_recording_is_finite():
    x = voice("man").wave
    table = extract(np.concatenate([np.zeros(6000), x, np.zeros(6000)]), 16000)
    assert np.isfinite(table.to_numpy()).all()
    assert (table["F0"][:0.2] <= 1).all() and (table["peakSlope"][:0.2] == 0).all()


def test_memory_beyond_the_wave_stays_under_300_mb():
    x = voice("man", 4.0).wave
    wave = np.concatenate([x, np.zeros(LONGEST - 2 * len(x)), x])  # a frame as long as the pause
    tracemalloc.start()
    extract(wave, 16000, ["NAQ"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 280e6  # and one more copy of the wave, 23 MB, if it is upside down


RANDOM = np.random.default_rng(0).normal(size=16000)


@pytest.mark.parametrize(
    "wave, rate, message",
    [
        (np.zeros(0), 16000, "empty"),
        (np.zeros(16000), 16000, "constant"),
        (np.ones(16000), 16000, "constant"),
        (np.where(np.arange(16000) == 7, np.nan, RANDOM), 16000, "NaN"),
        (RANDOM.reshape(2, -1), 16000, "transpose"),
        (RANDOM.reshape(20, 20, 40), 16000, "shape"),
        (RANDOM.astype(complex), 16000, "complex"),
        (RANDOM > 0, 16000, "bool"),
        (RANDOM, 0, "sample rate"),
        (RANDOM, 4000, "sample rate"),
        (RANDOM, 96000, "sample rate"),
        (RANDOM, 16000.5, "sample rate"),
        (RANDOM, np.nan, "sample rate"),
        (RANDOM[:8000], 16000, "0.82 s"),
        (RANDOM[:1000], 16000, "recording"),
        (RANDOM[:20], 16000, "recording"),
        (RANDOM[:1], 16000, "constant"),
        (np.broadcast_to(np.float32(1), LONGEST + 1), 16000, "utterances"),
        (np.arange(16000) == 9000.0, 16000, "bool"),
        (np.where(np.arange(16000) == 9000, 1.0, 0.0), 16000, "no voiced frame"),
    ],
)
def test_bad_recordings_are_refused_in_one_line(wave, rate, message):
    with pytest.raises(CovarepError, match=message) as caught:
        extract(wave, rate)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["int64", "int32", "float64"])
def test_samples_of_another_scale_are_refused(kind):
    wave = (3e4 * np.sign(np.sin(np.arange(16000) / 20))).astype(kind)
    with pytest.raises(CovarepError, match=rf"{kind} samples up to 30000: give int16, or floats"):
        extract(wave, 16000)


def test_a_flat_pulse_has_exact_zeros_in_its_spectrum():
    rng = np.random.default_rng(0)
    flow = np.cumsum(rng.standard_normal(3000)) + 50
    for period in (511, 512, 513):
        start, end = np.array([100]), np.array([100 + period])
        pulse = flow[100 : 101 + period] - flow[100 : 101 + period].min()
        spectra = [np.abs(np.fft.fft(x, 2048))[:1000]
                   for x in (pulse / pulse.max(), np.full(period, 1 / period))]  # fmt: skip
        spectra[1][1:][period * np.arange(1, 1000) % 2048 == 0] = 0
        expected = np.divide(*(glottal.parabola(decibel(one)[None])[0][0] for one in spectra))
        found = glottal.psp(flow, start, end, 48000, 1000)[0]
        assert found == pytest.approx(expected, rel=1e-6), period


def test_a_pulse_below_its_line_has_no_open_phase():
    rng = np.random.default_rng(0)
    for _ in range(200):
        first, last = rng.uniform(0, 1, 2)
        k, n = np.arange(90), 90
        flow = first + (last - first) * k / (n - 1) - 0.1 * np.sin(np.pi * k / (n - 1))
        start, end, period = np.array([0]), np.array([n - 1]), np.array([n - 1])
        slope = np.gradient(flow)
        _, qoq = glottal.pulse_shape(flow, slope, start, end, period, 16000)
        assert qoq[0] == 0


def test_unknown_features_are_named():
    with pytest.raises(CovarepError, match="MCEP_25"):
        extract(RANDOM, 16000, ["F0", "MCEP_25"])


def test_utterance_means():
    index = pd.Index(0.005 + 0.01 * np.arange(100), name="seconds")
    frame = pd.DataFrame({"F0": np.arange(100.0)}, index=index)
    means = utterance_means(frame, [0.0, 0.5], [0.5, 1.0])
    assert means["F0"].tolist() == [24.5, 74.5]
    with pytest.raises(CovarepError, match="no frame from 2 to 3 s"):
        utterance_means(frame, 2, 3)


# Threads.


def blas_threads() -> set[int]:
    return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    """The caller's own setting."""
    with threadpool_limits(2, "blas"):
        assert blas_threads() == {2}
        yield
        assert blas_threads() == {2}


@pytest.mark.parametrize("error", [None, CovarepError, KeyboardInterrupt])
def test_one_blas_thread_within_extract_and_the_callers_setting_afterwards(
    two_threads, monkeypatch, error
):
    within = []

    def watched(*args):
        within.append(blas_threads())
        if error:
            raise error
        return Stages(*args)

    monkeypatch.setattr(stages, "Stages", watched)
    with pytest.raises(error) if error else nullcontext():
        extract(voice("man").wave, 16000, ["F0"])
    assert within == [{1}] and blas_threads() == {2}


def test_threads_that_extract_at_once_leave_no_limit_behind(two_threads):
    """The second goes in while the first is within, and comes out after it."""
    with ExitStack() as second:
        with one_blas_thread:
            second.enter_context(one_blas_thread)
        assert blas_threads() == {1}
    assert blas_threads() == {2}
    wave = voice("man").wave
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: extract(wave, 16000, ["F0", "MCEP_1"]), range(8)))
    assert all(table.equals(tables[0]) for table in tables) and blas_threads() == {2}


def test_the_limit_holds_and_ends_whichever_thread_goes_out_last(two_threads):
    inside, left = Event(), Event()

    def last_out():
        with one_blas_thread:
            inside.set()
            assert left.wait(60)
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        with one_blas_thread:
            last = pool.submit(last_out)
            assert inside.wait(60)
        left.set()
        assert last.result() == {1}
        assert blas_threads() == {2}
        assert pool.submit(one_blas_thread(blas_threads)).result() == {1}


# The embedded corpus, spoken.


def test_spoken_utterances_are_measured_as_the_corpus_says():
    corpus = load("synthetic", n=200)
    clear = np.flatnonzero(corpus.truth["informativeness"][:, 1] > 0.95)[:2]
    found = spoken(corpus, clear)
    assert (
        found.ids == tuple(corpus.ids[i] for i in clear) and found.modalities == corpus.modalities
    )
    for place, i in enumerate(clear):
        said, heard = (
            pd.DataFrame(c.sequences["audio"][k], columns=FEATURES)
            for c, k in ((corpus, i), (found, place))
        )
        assert len(heard) == 10 * len(said)
        said, heard = (f.loc[f["VUV"] >= 0.5, ["F0", "Rd"]].mean() for f in (said, heard))
        assert abs(heard["F0"] - said["F0"]) < 15 and abs(heard["Rd"] - said["Rd"]) < 0.4


def test_an_utterance_without_audio_cannot_be_spoken():
    corpus = load("synthetic", n=200)
    missing = int(np.flatnonzero(corpus.sequences["audio"].lengths == 0)[0])
    with pytest.raises(CovarepError, match=f"utterance {missing} has no audio"):
        spoken(corpus, [missing])


# Files.


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    wave = (32767 * voice("man").wave).astype(np.int16)
    wavfile.write(tmp_path / "in" / "good.wav", 16000, wave)
    wavfile.write(tmp_path / "in" / "deep" / "short.wav", 16000, wave[:4000])
    (tmp_path / "in" / "text.wav").write_text("no sound")
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2])
def test_extract_files_goes_on_and_lists_failures(folder, workers):
    names = ["F0", "NAQ", "MCEP_1", "HMPDM_9"]
    failed = extract_files([folder / "in"], folder / "out", workers, names)
    reasons = {Path(path).stem: reason for path, reason in failed.itertuples(index=False)}
    assert set(reasons) == {"short", "text"} and "not a readable WAV" in reasons["text"]
    written = folder / "out" / "good.csv"
    direct = extract(wavfile.read(folder / "in" / "good.wav")[1], 16000, names)
    pd.testing.assert_frame_equal(pd.read_csv(written, index_col=0), direct, rtol=1e-8, atol=1e-300)
    assert [p.name for p in (folder / "out").rglob("*.*")] == ["good.csv"]


def test_extract_files_resumes(folder):
    target = folder / "out" / "good.csv"
    extract_files([folder / "in" / "good.wav"], folder / "out", features=["F0"])
    first = target.stat().st_mtime_ns
    extract_files([folder / "in" / "good.wav"], folder / "out", features=["F0"])
    assert target.stat().st_mtime_ns == first
    extract_files([folder / "in" / "good.wav"], folder / "out", features=["F0", "VUV"])
    assert list(pd.read_csv(target, index_col=0)) == ["F0", "VUV"]
    os.utime(target, (0, 0))  # the recording is newer
    extract_files([folder / "in" / "good.wav"], folder / "out", features=["F0", "VUV"])
    assert target.stat().st_mtime > 0


def test_a_table_of_another_program_is_kept(folder):
    (folder / "in" / "good.csv").write_text("start,end,words\n0,1,mine\n")
    with pytest.raises(
        CovarepError, match=r"good\.csv holds something else: choose another folder"
    ):
        extract_files(folder / "in", folder / "in", features=["F0"])
    assert "mine" in (folder / "in" / "good.csv").read_text()


@pytest.mark.parametrize("header", ["seconds", "seconds,my pitch", "seconds,F0,my label"])
def test_a_column_of_one_s_own_is_not_lost(folder, header):
    (folder / "in" / "good.csv").write_text(f"{header}\n0,1\n")
    with pytest.raises(CovarepError, match=r"good\.csv holds something else"):
        extract_files(folder / "in", folder / "in", features=["F0"])
    assert (folder / "in" / "good.csv").read_text() == f"{header}\n0,1\n"


def test_a_single_path_and_links_to_one_file(folder):
    (folder / "linked").mkdir()
    for name in ("u1.wav", "u2.wav"):
        (folder / "linked" / name).symlink_to(folder / "in" / "good.wav")
    assert extract_files(str(folder / "linked"), folder / "out", features=["F0"]).empty
    assert {path.name for path in (folder / "out").iterdir()} == {"u1.csv", "u2.csv"}


@pytest.mark.parametrize("from_file", [True, False])
def test_processes_need_a_script_that_can_be_imported(folder, from_file):
    call = f"from mmlib.covarep import extract_files\nextract_files({str(folder / 'in')!r}, "
    call += f"{str(folder / 'out')!r}, 2, ['F0'])\n"
    (folder / "script.py").write_text(call)
    how = {"timeout": 60, "capture_output": True, "text": True, "cwd": ROOT}
    words = [str(folder / "script.py")] if from_file else ["-"]
    done = subprocess.run([sys.executable, *words], input=None if from_file else call, **how)
    assert done.returncode and "under `if __name__ == '__main__':`" in done.stderr


def test_nothing_to_do_is_told(folder, capsys):
    (folder / "none").mkdir()
    for more, message in ([], "no .wav file in"), (["--workers", "0"], "0 workers: give 1"):
        arguments = [str(folder / "none"), "--out", str(folder / "out"), *more]
        assert main(arguments) == 2 and message in capsys.readouterr().err


def test_two_recordings_of_one_name_are_refused(folder):
    (folder / "good.wav").write_bytes((folder / "in" / "good.wav").read_bytes())
    with pytest.raises(CovarepError, match="rename one"):
        extract_files([folder / "good.wav", folder / "in" / "good.wav"], folder / "out")


@pytest.mark.parametrize("files, message", [([], "no name.wav"), (["a.wav"], "not the 74 columns")])
def test_agreement_wants_a_folder_of_pairs(tmp_path, capsys, files, message):
    for name in files:
        wavfile.write(tmp_path / name, 16000, voice("man").wave)
    (tmp_path / "a.csv").write_text("F0,VUV\n100,1\n")
    assert agreement.main(str(tmp_path)) == 2 and message in capsys.readouterr().err
