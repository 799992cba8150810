"""All stages of COVAREP: 74 columns, one row every 10 ms."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from mmlib.covarep import phase
from mmlib.covarep.columns import FEATURES, GROUPS
from mmlib.covarep.conventions import CovarepError, interpolate, rnd
from mmlib.covarep.envelope import mel_cepstra
from mmlib.covarep.gci import closure_instants
from mmlib.covarep.glottal import glottal_parameters
from mmlib.covarep.iaif import glottal_flow
from mmlib.covarep.lpc import batches
from mmlib.covarep.pitch import LOW, Pitch, srh
from mmlib.covarep.polarity import polarity, speech_residual
from mmlib.covarep.rd import estimate_rd
from mmlib.covarep.recording import checked
from mmlib.covarep.sinusoids import half_length, harmonic_analysis
from mmlib.covarep.threads import one_blas_thread
from mmlib.covarep.wavelets import mdq, peak_slope

PART = 512  # frames of the sinusoidal analysis at once, which bounds memory


class Stages:
    """The stages of one recording, each computed at its first use.

    Methods named after GROUPS return that group's columns (f, columns) at the output positions,
    which are samples counted from 1.
    """

    def __init__(self, wave: np.ndarray, sample_rate: int, wanted: set[str], seed: int) -> None:
        self.rate, self.wanted = sample_rate, wanted
        self.random = np.random.default_rng(seed)
        plain = speech_residual(wave, sample_rate)
        sign = polarity(wave, sample_rate, plain)
        self.wave, self.excitation = (v if sign == 1 else sign * v for v in (wave, plain))
        hop = rnd(0.01 * sample_rate)
        self.positions = np.arange(rnd(0.005 * sample_rate), len(wave) + 1, hop)

    def spread(self, known: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values at 1-based positions `known`, interpolated to the output positions; else NaN."""
        return interpolate(known, values, self.positions)

    @cached_property
    def track(self) -> Pitch:
        return srh(self.wave, self.rate)

    @cached_property
    def gci(self) -> np.ndarray:
        """Closures in voiced speech; as in the original, voicing is read one sample early."""
        f0 = self.track.typical()
        if np.isnan(f0):
            raise CovarepError("no voiced frame found: nothing to measure, drop the recording")
        instants = np.unique(closure_instants(self.wave, self.excitation, self.rate, f0))
        return instants[self.track.at(instants, self.rate, self.track.voiced) >= 0.5]

    @cached_property
    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Centre samples and F0 (Hz) of the frames whose three periods fit into the file."""
        middle = rnd(self.track.time * self.rate)
        half = half_length(self.track.f0, self.rate)
        # F0 is 1 Hz in digital silence, where there are no harmonics.
        fits = (middle >= half) & (middle + half < len(self.wave)) & (self.track.f0 >= LOW)
        needed = phase.LEAST if "hmpd" in self.wanted else 2
        if fits.sum() < needed:
            raise CovarepError(
                f"{fits.sum()} frames of 10 ms can be analysed, at least {needed} are needed: "
                "give 0.82 s of speech or more"
            )
        return middle[fits], self.track.f0[fits]

    @cached_property
    def frames(self) -> dict[str, np.ndarray]:
        """Those of Rd, MCEP and HMPD that are wanted, per frame, a part of the file at a time."""
        middle, f0 = self.centres
        results: dict[str, list] = {"rd": [], "mcep": [], "hmpd": []}

        def distortions() -> Iterator[np.ndarray]:
            for part in batches(len(middle), PART):
                sinusoids = harmonic_analysis(self.wave, middle[part], f0[part], self.rate)
                if "rd" in self.wanted:
                    results["rd"].append(estimate_rd(sinusoids))
                if "mcep" in self.wanted:
                    cepstra = mel_cepstra(sinusoids.log_spectrum, sinusoids.f0, self.rate)
                    results["mcep"].append(cepstra)
                if "hmpd" in self.wanted:
                    yield phase.phase_distortion(sinusoids, self.rate, self.random)

        results["hmpd"] = list(phase.statistics(distortions(), len(middle), self.rate))
        return {name: np.concatenate(parts) for name, parts in results.items() if parts}

    def pitch(self) -> np.ndarray:
        f0, voiced = (
            self.track.at(self.positions, self.rate, v) for v in (self.track.f0, self.track.voiced)
        )
        return np.stack([f0, voiced >= 0.5], axis=1)

    def glottal(self) -> np.ndarray:
        flow = glottal_flow(self.wave, self.gci, self.rate)
        return self.spread(self.gci + 1, glottal_parameters(*flow, self.gci, self.rate))

    def mdq(self) -> np.ndarray:
        return self.spread(self.gci, mdq(self.excitation, self.gci)[:, None])

    def peak_slope(self) -> np.ndarray:
        known, slope = peak_slope(self.wave, self.rate)
        return self.spread(known, slope[:, None])

    def rd(self) -> np.ndarray:
        return self.spread(self.centres[0], self.frames["rd"])

    def creak(self) -> np.ndarray:
        """Zeros, as the original writes without the commercial MATLAB toolbox it needs here."""
        return np.zeros((len(self.positions), 1))

    def mcep(self) -> np.ndarray:
        """MCEP; as in the original, frames are stretched over the file: 50 ms off at its ends."""
        values = self.frames["mcep"]
        return self.spread(rnd(np.linspace(1, len(self.wave), len(values))), values)

    def hmpd(self) -> np.ndarray:
        time = self.centres[0] / self.rate
        return phase.to_grid(self.frames["hmpd"], time, (self.positions - 1) / self.rate)


def check_names(features: Sequence[str] | None) -> tuple[str, ...]:
    """The wanted columns, each once, by default all; CovarepError for none or an unknown one."""
    features = FEATURES if features is None else tuple(dict.fromkeys(features))
    unknown = [name for name in features if name not in FEATURES]
    if unknown or not features:
        raise CovarepError(f"unknown features {unknown}: choose from mmlib.covarep.FEATURES")
    return features


@one_blas_thread
def extract(
    wave: np.ndarray, sample_rate: int, features: Sequence[str] | None = None, seed: int = 0
) -> pd.DataFrame:
    """COVAREP's 74 features of a recording, one row per 10 ms, index in seconds.

    wave: (n,) or (n, channels), of which the first is used; floats of full scale 1, or integers.
    sample_rate: 8000 to 48000 Hz. features: a subset of FEATURES (default: all); only the stages
    that they need are run. seed: of the random phases that the original draws near half the
    sampling rate; they change HMPDM_24 and, slightly, HMPDD. Units: F0 in Hz, H1H2 in dB, HMPDM in
    rad, MCEP and HMPDD natural logs; VUV is 0 or 1, creak always 0.

    Values are finite; before the first and after the last frame or closure a feature is 0. Cut long
    recordings into utterances first, as CMU did: MCEP frames are stretched over the whole file, one
    reference amplitude holds for all of it, and memory grows with it. At most 3 minutes at 16 kHz
    are accepted. CovarepError for no voiced frame, under 0.82 s, constant or invalid samples, or a
    rate out of range. While it runs, numpy's and scipy's BLAS have one thread in this process.

    The definitions are those of the program COVAREP (G. Degottex et al., ICASSP 2014) under Octave.
    """
    features = check_names(features)
    wanted = {group for group, names in GROUPS.items() if set(names) & set(features)}
    stages = Stages(*checked(wave, sample_rate), wanted, seed)
    table = pd.DataFrame(
        np.concatenate([getattr(stages, group)() for group in GROUPS if group in wanted], axis=1),
        columns=[name for group, names in GROUPS.items() if group in wanted for name in names],
        index=pd.Index(stages.positions / stages.rate, name="seconds"),
    )
    values = np.nan_to_num(table[list(features)], nan=0.0, posinf=0.0, neginf=0.0)
    return pd.DataFrame(values, columns=list(features), index=table.index)


extract.Stages = Stages  # the module once had the name of the function


def utterance_means(
    frame: pd.DataFrame, start: Sequence[float] | float, end: Sequence[float] | float
) -> pd.DataFrame:
    """Plain means of the rows from `start` up to `end` (s), one row an utterance, as CMU's files.

    Angles (HMPDM) are averaged like the rest, as CMU did. CovarepError if an utterance has no row.
    """
    start, end = np.atleast_1d(start).astype(float), np.atleast_1d(end).astype(float)
    first, last = (np.searchsorted(frame.index, edge) for edge in (start, end))
    for i in np.flatnonzero(last <= first):
        raise CovarepError(
            f"no frame from {start[i]:g} to {end[i]:g} s; the table runs to {frame.index[-1]:g} s"
        )
    values = [frame.iloc[a:b].mean() for a, b in zip(first, last, strict=True)]
    return pd.DataFrame(values, index=pd.Index(start, name="start"))
