"""A synthetic recording with its transcript, its face export and the values it was made from.

`record` speaks sentences of the embedded corpus in the synthetic voice of `mmlib.covarep.voice` (a
vowel a word; pitch and tension rise with the voice's evidence) and adds a transcript in Whisper's
layout with word times, and a face export in FACET's. The last utterance is too short for COVAREP.

`spoken` replaces audio columns of the embedded corpus by measured ones. The corpus draws its own
from each utterance's evidence and clarity, without a wave. Here pitch, voicing, glottal shape and
loudness of a synthetic voice follow the utterance's frames, and all columns are measured from that
wave. Our reading: a frame of the corpus lasts FRAME seconds of speech, because 15 to 45 frames of
10 ms would be too short to measure.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.io import wavfile

from mmlib.covarep import FEATURES, CovarepError, extract
from mmlib.covarep.voice import VOWEL, Voice, synthesise
from mmlib.data import Corpus, Sequences, load
from mmlib.data.columns import FACET
from mmlib.files import write_whole
from mmlib.recordings.decode import RATE

GAP = 0.6  # seconds between utterances
FRAMES = 25  # face frames a second
VOWELS = (  # the first two formants of a, e, i, o, u; VOWEL has those above
    ((730, 80), (1090, 90)),
    ((530, 60), (1840, 100)),
    ((300, 60), (2290, 100)),
    ((570, 70), (840, 80)),
    ((320, 60), (870, 80)),
)
SHORT = "Right."  # half a second long
FRAME = 0.1  # s
PITCH, SHAPE = (70, 400), (0.4, 2.4)  # limits of the synthesiser, Hz and Rd
USUAL, PEAK = -8, 0.1  # MCEP_0 of the corpus' usual loudness, and its largest |sample|


class Demo(NamedTuple):
    """The files of the recording, and the values it was made from."""

    clip: Path
    transcript: Path
    faces: Path
    f0: np.ndarray  # (samples,) Hz, 0 in pauses
    evidence: np.ndarray  # (n, 3) in [-3, 3]: of words, voice and face


def record(folder: Path | str, utterances: int = 6, seed: int = 0) -> Demo:
    """Write demo.wav, demo.json and demo.txt (faces) into a folder; equal seeds, equal files."""
    folder, rng = Path(folder), np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = _chosen(utterances, seed)
    sentences = [*(f"{text.capitalize()}.".replace(" i ", " I ") for text in corpus.text), SHORT]
    evidence = np.vstack([corpus.truth["evidence"], np.ones(3)])
    waves, tracks, segments, now = [], [], [], 0.0
    for sentence, voice in zip(sentences, evidence[:, 1], strict=True):
        wave, f0, words = _sentence(sentence, voice, now + GAP, rng)
        quiet = np.zeros(round(GAP * RATE))
        waves += [quiet, wave]
        tracks += [quiet, f0]
        segments.append({"start": now + GAP, "end": words[-1]["end"], "words": words})
        now += GAP + len(wave) / RATE
    wave = np.concatenate(waves) + 1e-4 * rng.standard_normal(sum(map(len, waves)))
    demo = Demo(*(folder / f"demo{suffix}" for suffix in (".wav", ".json", ".txt")),
                np.concatenate(tracks), evidence)  # fmt: skip
    sound = io.BytesIO()
    wavfile.write(sound, RATE, np.rint(32767 * wave).astype(np.int16))
    write_whole(demo.clip, sound.getvalue())
    write_whole(demo.transcript, json.dumps({"segments": segments}, indent=1).encode())
    write_whole(demo.faces, _export(corpus, segments, now, rng).encode())
    return demo


def _chosen(n: int, seed: int) -> Corpus:
    """n utterances spread evenly from the most negative words to the most positive, shuffled."""
    corpus = load("synthetic", n=400, seed=seed)
    clear = (corpus.truth["informativeness"][:, 0] >= 0.75) & (corpus.truth["precision"] > 0).all(1)
    rows = np.flatnonzero(clear)
    rows = rows[np.argsort(corpus.truth["evidence"][rows, 0])]
    spread = rows[np.linspace(0, len(rows) - 1, n).astype(int)]
    return corpus.take(np.random.default_rng(seed).permutation(spread))


def _sentence(
    sentence: str, evidence: float, start: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    """Samples (n,), pitch (n,) and the timed words of a sentence that begins at `start`."""
    waves, tracks, words, now = [], [], [], 0
    for word in sentence.split():
        n = round((0.1 + 0.04 * len(word)) * RATE)
        time = (now + np.arange(n)) / RATE
        f0 = 150 + 15 * evidence - 8 * time + 10 * np.sin(2 * np.pi * 1.5 * time)
        formants = (*VOWELS[rng.integers(len(VOWELS))], *VOWEL[2:])
        wave = synthesise(f0, 1.3 - 0.2 * evidence, formants, RATE, 0.02, rng.integers(2**31)).wave
        rise = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.02 * RATE))
        waves.append(wave * rise * 10 ** (evidence / 20))
        tracks.append(f0)
        times = {"start": start + now / RATE, "end": start + (now + n) / RATE}
        words.append({"word": f" {word}", **{k: round(v, 3) for k, v in times.items()}})
        now += n
    return 0.7 * np.concatenate(waves), np.concatenate(tracks), words


def _export(corpus: Corpus, segments: list[dict], seconds: float, rng) -> str:
    """A face export: the corpus' frames during each sentence, a calm face between sentences."""
    time = np.arange(0, seconds, 1 / FRAMES)
    values = 0.2 * rng.standard_normal((len(time), len(FACET)))
    for i, segment in enumerate(segments[: len(corpus)]):
        during = np.flatnonzero((time >= segment["start"]) & (time < segment["end"]))
        frames = corpus.sequences["vision"][i]
        values[during] = frames[np.arange(len(during)) * len(frames) // len(during)]
    lost = (values == 0).all(axis=1)
    names = [f"{c} {'Degrees' if c in ('Yaw', 'Pitch', 'Roll') else 'Evidence'}" for c in FACET]
    table = pd.DataFrame(np.where(lost[:, None], np.nan, values), columns=names).round(4)
    table.insert(0, "NoOfFaces", (~lost).astype(int))
    table.insert(0, "FrameTime", np.rint(1000 * time).astype(int))
    table.insert(0, "FrameNo", np.arange(len(time)))
    return "#Study : demo\n" + table.to_csv(sep="\t", index=False)


def speak(audio: Sequences, i: int, sample_rate: int = 16000, seed: int = 0) -> Voice:
    """A synthetic voice for utterance i: F0, VUV and Rd follow its frames, loudness their MCEP_0.

    The mean of MCEP_0 counts. CovarepError if the utterance has no audio.
    """
    frames = pd.DataFrame(audio[i], columns=audio.columns)
    if frames.empty:
        raise CovarepError(f"utterance {i} has no audio: choose another")
    hop = round(FRAME * sample_rate)
    time = np.arange(hop * len(frames)) / sample_rate  # (n,) s
    middle = FRAME * (np.arange(len(frames)) + 0.5)
    f0, rd = (
        np.interp(time, middle, frames[name].clip(*limits))
        for name, limits in (("F0", PITCH), ("Rd", SHAPE))
    )
    pitch = np.where(np.repeat(frames["VUV"] >= 0.5, hop), f0, 0)
    voice = synthesise(pitch, rd, sample_rate=sample_rate, noise=0.02, seed=seed + i)
    loudness = PEAK * np.exp(frames["MCEP_0"].mean() - USUAL)
    return voice._replace(wave=voice.wave * (loudness / np.abs(voice.wave).max()))


def spoken(corpus: Corpus, rows: Sequence[int], sample_rate: int = 16000, seed: int = 0) -> Corpus:
    """The utterances `rows` of an embedded corpus with audio from waves, one row per 10 ms.

    Evidence, labels and truth are unchanged; `extract` measures the 74 columns from the waves of
    `speak`. CovarepError if an utterance has no audio or no voiced frame.
    """
    audio, few = corpus.sequences["audio"], corpus.take(np.asarray(rows))
    waves = [speak(audio, i, sample_rate, seed).wave for i in rows]
    tables = [extract(wave, sample_rate, seed=seed).to_numpy() for wave in waves]
    measured = Sequences(np.concatenate(tables), np.array([len(t) for t in tables]), FEATURES)
    return replace(
        few,
        variant=f"{corpus.variant}, audio from waves",
        sequences={**few.sequences, "audio": measured},
    )
