"""Waves for the embedded corpus: utterances spoken as their audio columns say, then measured.

The corpus draws its audio columns from each utterance's evidence and clarity; no wave is behind
them. Here a few utterances get one: pitch, voicing, glottal shape and loudness of a synthetic voice
follow the utterance's frames, and all columns are measured from its wave like any recording's.
Our reading: a frame of the corpus stands for FRAME seconds of speech, because 15 to 45 frames of
10 ms would be too short to measure.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mmlib.covarep import FEATURES, CovarepError, extract
from mmlib.covarep.voice import Voice, synthesise
from mmlib.data import Corpus, Sequences

FRAME = 0.1  # s
PITCH, SHAPE = (70, 400), (0.4, 2.4)  # Hz and Rd that the synthesiser is kept within
USUAL, PEAK = -8, 0.1  # MCEP_0 of the corpus' usual loudness, and the largest |sample| there


def speak(audio: Sequences, i: int, sample_rate: int = 16000, seed: int = 0) -> Voice:
    """The voice of utterance i: F0, VUV and Rd follow its frames, loudness their mean MCEP_0.

    CovarepError if the utterance has no audio.
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

    Their evidence, labels and truth are the corpus' own; the 74 columns are `extract`ed from what
    `speak` says. CovarepError where an utterance has no audio or no voiced frame.
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
