"""Recordings, transcripts and face exports in, a corpus out; and every bad input's one line."""

import json
import shutil
import subprocess
import sys
import tracemalloc
from contextlib import suppress

import av
import numpy as np
import pandas as pd
import pytest
import recordings as made
from scipy.io import wavfile

from mmlib.covarep import FEATURES, extract, utterance_means
from mmlib.covarep.work import DIED, attempt_all
from mmlib.data import DataError, load
from mmlib.data.columns import FACET
from mmlib.data.readers.recordings import load_clip
from mmlib.recordings import (
    Limits,
    Options,
    build,
    build_corpus,
    collapse,
    read_faces,
    read_transcript,
)
from mmlib.recordings.__main__ import main
from mmlib.recordings.decode import RATE, blocks, cut, probe
from mmlib.recordings.decode import load as samples
from mmlib.recordings.demo import record
from mmlib.recordings.folder import Job
from mmlib.scores.passport import passport


def fails(words: str):
    """A DataError of one line that holds these words."""
    return pytest.raises(DataError, match=rf"\A[^\n]*{words}[^\n]*\Z")


# Sound


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".mp4"])
def test_every_container_gives_the_samples(tmp_path, suffix):
    wave, path = made.voice(2), tmp_path / f"a b ü{suffix}"
    made.write_wav(path, wave) if suffix == ".wav" else made.encode(path, wave)
    found = samples(path)
    assert probe(path).seconds == pytest.approx(2, abs=0.1)
    assert found.dtype == np.float32 and len(found) == pytest.approx(len(wave), abs=0.1 * RATE)
    exact = np.rint(32767 * wave) / 32768
    if suffix in (".wav", ".flac"):
        assert np.array_equal(found, exact.astype(np.float32))
    else:
        lag = max(
            range(-1500, 1500, 1), key=lambda k: exact[3000:8000] @ found[3000 + k : 8000 + k]
        )
        assert np.corrcoef(exact[3000:8000], found[3000 + lag : 8000 + lag])[0, 1] > 0.98


def test_other_rates_and_channels_become_16_khz_mono(tmp_path):
    rate, time = 44100, np.arange(44100) / 44100
    tone = 0.4 * np.sin(2 * np.pi * 300 * time)
    path = made.write_wav(tmp_path / "stereo.wav", np.stack([tone, 0 * tone], axis=1), rate)
    found = samples(path)
    expected = 0.2 * np.sin(2 * np.pi * 300 * np.arange(len(found)) / RATE)
    assert len(found) == pytest.approx(RATE, abs=20)
    assert np.abs(found - expected)[200:-200].max() < 0.01


@pytest.mark.parametrize("channels", [7, 8, 16])
def test_any_number_of_channels_is_averaged(tmp_path, channels):
    """From eight on, reading them ended the process."""
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * RATE, channels))
    path = made.write_wav(tmp_path / "a.wav", sound)
    expected = (np.rint(32767 * sound) / 32768).mean(axis=1)
    assert samples(path) == pytest.approx(expected, abs=1e-6)


def test_joined_files_are_told(tmp_path):
    """All of the sound was read, but its times are those of the first file."""
    parts = [made.encode(tmp_path / f"{i}.flac", made.voice(3)) for i in range(2)]
    both = tmp_path / "both.flac"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    with fails(r"6\.\d s of sound, declared are 3\.\d \(files joined\?\); `ffmpeg"):
        samples(both)


def test_the_length_of_an_amr_is_counted(tmp_path):
    """FFmpeg guesses it from the first frames; a phone's later ones are shorter."""
    path = tmp_path / "a.amr"
    loud, quiet = bytes([0x3C]) + bytes(31), bytes([0x04]) + bytes(12)  # 12.2 and 4.75 kbit/s
    path.write_bytes(b"#!AMR\n" + 50 * loud + 450 * quiet)
    with suppress(DataError):  # zeros may be silent
        samples(path)
    assert probe(path).seconds == pytest.approx(10, abs=0.1)


def test_a_name_with_a_colon_is_no_protocol(tmp_path, monkeypatch):
    made.write_wav(tmp_path / "10:30.wav", made.voice(1))
    monkeypatch.chdir(tmp_path)
    assert len(samples("10:30.wav")) == RATE


def test_faces_begin_with_the_pictures(tmp_path):
    """They were laid on the sound as if both began together."""
    path = made.film(tmp_path / "a.mkv", made.voice(3), "pcm_s16le", "s16", RATE, "mpeg4", late=25)
    assert probe(path).pictures_at == pytest.approx(1, abs=0.05)
    (tmp_path / "a.txt").write_text("All of it was good.")
    made.facet(tmp_path / "a.tsv", np.repeat(np.arange(50.0)[:, None], 35, axis=1))
    found = build(path, tmp_path / "a.txt", tmp_path / "a.tsv", options=Options(level="frame"))
    assert len(found.sequences["vision"].values) == pytest.approx(50, abs=1)
    words = json.dumps({"segments": [
        {"start": start, "end": start + 1, "text": text}
        for start, text in enumerate([" Before any face.", " The first faces.", " The last ones."])
    ]})  # fmt: skip
    (tmp_path / "a.json").write_text(words)
    found = build(path, tmp_path / "a.json", tmp_path / "a.tsv")
    assert found.sequences["vision"].lengths.tolist() == [0, 1, 1]
    assert found.sequences["vision"].values[:, 0] == pytest.approx([12, 37], abs=1)
    assert not [note for note in found.counts if "shorter or longer" in note]


@pytest.mark.parametrize(
    "size, intervals",
    [
        (1000, [(0.1, 0.3), (0.2, 0.5), (0.9, 1.0)]),  # overlap, gap
        (70, [(0, 0.01), (0.01, 0.02), (0.5, 0.5), (0.6, 2.0)]),  # empty; past the end
        (16000, [(0.25, 0.75)]),
    ],
)
def test_cut_is_slicing(size, intervals):
    wave = np.arange(RATE, dtype=np.float32)
    stream = (wave[i : i + size] for i in range(0, len(wave), size))
    for (start, end), part in zip(intervals, cut(stream, np.array(intervals)), strict=True):
        assert np.array_equal(part, wave[round(start * RATE) : round(end * RATE)])
    assert next(stream, None) is None, "the rest is read, for its checks"


def test_memory_does_not_grow_with_the_recording(tmp_path):
    def peak(seconds: int) -> int:
        path = tmp_path / f"{seconds}.wav"
        made.write_wav(path, np.tile(made.voice(1), seconds))
        tracemalloc.start()
        for part in cut(blocks(path), np.array([(i, i + 3) for i in range(0, seconds - 3, 5)])):
            assert len(part) == 3 * RATE
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(30)
    assert peak(300) < 1.2 * peak(60)


def test_limits_stop_a_small_file_that_holds_hours(tmp_path):
    bomb = made.encode(tmp_path / "bomb.flac", np.zeros(600 * RATE))
    assert bomb.stat().st_size < 200_000
    with fails("over 0.1 h of sound; cut it"):
        probe(bomb, Limits(hours=0.1))
    with fails("over 0.1 h"):  # whatever the header says
        samples(bomb, Limits(hours=0.1))
    with fails("the limit is 1e-05; cut it or raise"):
        probe(bomb, Limits(gigabytes=1e-5))


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("no.wav", None, "no such file"),
        ("junk.wav", b"RIFF1234" + bytes(range(200)), "truncated|not a readable recording"),
        ("junk.mp3", b"hello there" * 99, "not a readable recording"),
        ("list.mp3", b"#EXTM3U\n#EXTINF:9,\nother.wav\n", "not a readable recording"),
    ],
)
def test_what_is_no_recording(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with fails(words):
        probe(tmp_path / name)


def test_channels_that_are_silent_or_cancel_are_named(tmp_path):
    wave = made.voice(1)
    (tmp_path / "a.txt").write_text("All of it.")
    made.write_wav(tmp_path / "a.wav", np.stack([0 * wave, wave], axis=1))
    assert any(
        "a silent channel" in note for note in build(tmp_path / "a.wav", tmp_path / "a.txt").counts
    )
    made.write_wav(tmp_path / "a.wav", np.stack([-wave, wave], axis=1))
    with fails("its channels cancel each other; export a single one"):
        samples(tmp_path / "a.wav")


def test_a_wave_file_without_samples(tmp_path):
    path = made.write_wav(tmp_path / "a.wav", made.voice(1))
    head = path.read_bytes()[:36]  # up to the chunk of the samples
    path.write_bytes(head[:4] + (28).to_bytes(4, "little") + head[8:])
    with fails("a.wav: .*(no sound|not a readable)"):
        probe(path)


FILES = {  # suffix -> codec of the sound, its samples, its rate, codec of pictures
    "mkv": ("libopus", "s16", 48000, "mpeg4"),
    "webm": ("libopus", "s16", 48000, "vp8"),
    "avi": ("pcm_s16le", "s16", RATE, "mpeg4"),
    "mp4": ("aac", "fltp", RATE, "mpeg4"),
    "opus": ("libopus", "s16", 48000, None),
    "aiff": ("pcm_s16be", "s16", RATE, None),
    "caf": ("pcm_s16be", "s16", RATE, None),
    "w64": ("pcm_s16le", "s16", RATE, None),
    "m4a": ("aac", "fltp", RATE, None),
    "aac": ("aac", "fltp", RATE, None),
    "mp3": ("libmp3lame", "s16p", RATE, None),
    "flac": ("flac", "s16", RATE, None),
}


@pytest.mark.parametrize("suffix", FILES)
def test_files_of_every_kind_are_read_whole_or_refused_when_cut_off(tmp_path, suffix):
    codec, kind, rate, pictures = FILES[suffix]
    wave, path = made.voice(4), tmp_path / f"a.{suffix}"
    wave = np.interp(np.arange(4 * rate) / rate, np.arange(len(wave)) / RATE, wave)
    made.film(path, wave, codec, kind, rate, pictures)
    assert len(samples(path)) == pytest.approx(4 * RATE, abs=0.15 * RATE)
    assert probe(path).seconds == pytest.approx(4, abs=0.15)
    content = path.read_bytes()
    path.write_bytes(content[: 6 * len(content) // 10])
    with fails("a.*truncated"):
        samples(path)


def test_an_mp3_without_a_length_is_counted(tmp_path):
    path = made.encode(tmp_path / "a.mp3", made.voice(4))
    content = path.read_bytes()
    assert content.count(b"Xing") + content.count(b"Info") == 1
    path.write_bytes(content.replace(b"Xing", bytes(4)).replace(b"Info", bytes(4)))
    assert probe(path).seconds == pytest.approx(4, abs=0.2)
    assert probe(path).seconds == len(samples(path)) / RATE


def test_a_second_sound_track_is_told(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        tracks = [file.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in range(2)]
        for track in tracks:
            values = np.rint(32767 * made.voice(1)).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            file.mux(track.encode(frame))
            file.mux(track.encode(None))
    (tmp_path / "a.txt").write_text("All of it.")
    counts = build(tmp_path / "a.mkv", tmp_path / "a.txt").counts
    assert counts["clips with several sound tracks, of which the first is read"] == 1


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".mp4"])
def test_truncated_files_are_noticed(tmp_path, suffix):
    path = made.encode(tmp_path / f"a{suffix}", made.voice(4))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with fails("truncated"):
        samples(path)


def test_samples_that_are_no_numbers_are_noticed(tmp_path):
    wave = made.voice(1).astype(np.float32)
    wave[500] = np.nan
    wavfile.write(tmp_path / "a.wav", RATE, wave)
    with fails("NaN or infinite"):
        samples(tmp_path / "a.wav")


def test_samples_far_above_full_scale_are_refused(tmp_path):
    wavfile.write(tmp_path / "a.wav", RATE, 20000 * made.voice(1).astype(np.float32))
    with fails("full scale is 1; save it as 16 bit"):
        samples(tmp_path / "a.wav")


def test_a_gap_in_the_sound_of_a_film_is_noticed(tmp_path):
    path, wave = tmp_path / "a.mkv", made.voice(4)
    made.film(path, wave, "pcm_s16le", "s16", RATE, "mpeg4")
    assert len(samples(path)) == len(wave)
    with av.open(str(path)) as old, av.open(str(tmp_path / "gap.mkv"), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            is_sound, time = (
                packet.stream.type == "audio",
                packet.pts and packet.pts * packet.time_base,
            )
            if packet.dts is not None and not (is_sound and 1 < time < 3):
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    with fails("or its sound has gaps"):
        samples(tmp_path / "gap.mkv")


# Transcripts


def said(tmp_path, name: str, text: str | bytes, seconds: float = 60):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_transcript(path, seconds)


SRT = """1
00:00:01,000 --> 00:00:02,500
<i>It was good,</i>

2
00:00:02,600 --> 00:00:04,000
very good. [applause]

3
00:00:04,000 --> 00:00:05.500
ANNA: I do not think so!
"""
VTT = """WEBVTT - a title

NOTE a comment

00:01.000 --> 00:02.500 align:start
<v Ben>It was good,<00:00:02.000> <c>very good.</c>

00:00:04.000 --> 00:00:05.500
<v Anna>I do &amp; did not.
"""


def test_srt(tmp_path):
    found = said(tmp_path, "a.srt", SRT)
    assert [(u.text, u.start, u.end, u.speaker) for u in found.utterances] == [
        ("It was good, very good.", 1.0, 4.0, ""),
        ("I do not think so!", 4.0, 5.5, "ANNA"),
    ]


def test_vtt_with_voices(tmp_path):
    found = said(tmp_path, "a.vtt", VTT.replace("\n", "\r\n"))
    assert [(u.text, u.start, u.end, u.speaker) for u in found.utterances] == [
        ("It was good, very good.", 1.0, 2.5, "Ben"),
        ("I do & did not.", 4.0, 5.5, "Anna"),
    ]
    assert found.speakers == {"Ben", "Anna"} and found.timed


def test_words_of_chinese_and_japanese_are_joined_without_spaces(tmp_path):
    words = [
        ("房间", 0.0, 0.2),
        ("很", 0.2, 0.5),
        ("好", 0.5, 0.8),
        ("OK", 0.8, 1),
        ("now", 1, 1.2),
    ]
    content = made.whisper(tmp_path / "a.json", *words).read_text()
    assert [u.text for u in said(tmp_path, "b.json", content).utterances] == ["房间很好OK now"]


@pytest.mark.parametrize("time", ["00:00:01,500", "00:00:01.500", "00:01,5", "٠٠:٠٠:٠١٫٥٠٠"])
def test_times_in_other_locales(tmp_path, time):
    (found,) = said(tmp_path, "a.srt", f"1\n{time} --> 00:00:03,000\nHm.\n").utterances
    assert (found.start, found.end) == (1.5, 3.0)


def test_whisper_with_words_and_an_untimed_numeral(tmp_path):
    words = [("In", 0.0, 0.2), ("fact", 0.2, 0.5), ("fine.", 2.0, 2.4), ("Mr.", 2.4, 2.6)]
    words += [("X", 2.6, 3.0), ("left", 4.5, 5.0)]
    content = json.loads(made.whisper(tmp_path / "a.json", *words).read_text())
    content["segments"][0]["words"].insert(2, {"word": " 2019"})
    found = said(tmp_path, "b.json", json.dumps(content)).utterances
    assert [(u.text, u.start, u.end) for u in found] == [
        ("In fact 2019", 0.0, 0.5),  # then a pause
        ("fine.", 2.0, 2.4),
        ("Mr. X", 2.4, 3.0),  # an abbreviation ends no sentence
        ("left", 4.5, 5.0),
    ]
    assert [piece.text for piece in found[0].pieces] == ["In", "fact 2019"]


def test_whisper_segments_without_words_and_speakers(tmp_path):
    segments = [
        {"start": 0, "end": 2, "text": " One", "speaker": "A"},
        {"start": 1.5, "end": 3, "text": " two", "speaker": "B"},
    ]
    found = said(tmp_path, "a.json", json.dumps({"segments": segments}))
    assert [(u.text, u.speaker) for u in found.utterances] == [("One", "A"), ("two", "B")]


def test_gentle_keeps_the_punctuation(tmp_path):
    text = "Well, no. Yes"
    words = [
        {"word": "Well", "case": "success", "start": 0.5, "end": 0.8, "startOffset": 0},
        {"word": "no", "case": "not-found-in-audio", "startOffset": 6},
        {"word": "Yes", "case": "success", "start": 1.5, "end": 1.8, "startOffset": 10},
    ]
    found = said(tmp_path, "a.json", json.dumps({"transcript": text, "words": words})).utterances
    assert [(u.text, u.start, u.end) for u in found] == [
        ("Well, no.", 0.5, 0.8),
        ("Yes", 1.5, 1.8),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ("[SPEAKER_00]: Very good.", "[SPEAKER_01]: Not good."),  # whisperX
        ("(speaker 0) Very good.", "(speaker 1) Not good."),  # whisper.cpp
        ("(SPEAKER 0): Very good.", "(SPEAKER 1): Not good."),
        ("SPEAKER_00: Very good.", "SPEAKER_01: Not good."),
    ],
)
def test_speakers_of_diarised_subtitles(tmp_path, lines):
    cues = f"1\n{CUE_1}\n{lines[0]}\n\n2\n{CUE_2}\n{lines[1]}\n"
    for found in (said(tmp_path, "a.srt", cues), said(tmp_path, "a.txt", "\n".join(lines))):
        assert [u.text for u in found.utterances] == ["Very good.", "Not good."]
        assert [u.speaker[-1] for u in found.utterances] == ["0", "1"]


@pytest.mark.parametrize(
    "line",
    ["[Music]: hello", "(speaker laughs) Well", "I said [inaudible]: no", "It was\nUSA: three"],
)
def test_what_looks_like_a_name_is_none(tmp_path, line):
    (found,) = said(tmp_path, "a.srt", f"1\n{CUE_1}\n{line}\n").utterances
    assert (
        not found.speaker and "[" not in found.text and found.text.split()[-1] == line.split()[-1]
    )


@pytest.mark.parametrize("dash", ["", "- ", "– "])
def test_two_speakers_of_one_cue(tmp_path, dash):
    text = f"1\n{CUE_1}\n{dash}ANNA: It is\ngood.\n{dash}BOB: I hate it.\n"
    found = said(tmp_path, "a.srt", text).utterances
    assert [(u.text, u.speaker) for u in found] == [("It is good.", "ANNA"), ("I hate it.", "BOB")]


def test_chinese_words_keep_the_punctuation_of_the_text(tmp_path):
    words = [{"word": w, "start": i, "end": i + 1} for i, w in enumerate("房间很干净我喜欢")]
    content = json.dumps({"text": "房间很干净。我喜欢！", "words": words})
    found = said(tmp_path, "a.json", content).utterances
    assert [u.text.replace(" ", "") for u in found] == ["房间很干净。", "我喜欢！"]


def spoken(transcript) -> list[tuple]:
    return [(u.text, u.start, u.end) for u in transcript.utterances]


TIMES = "00:00:0{} --> 00:00:0{}"
CUE_1, CUE_2 = TIMES.format("1,000", "2,000"), TIMES.format("3,000", "4,000")


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.srt", f"1\n{CUE_1}\nOne\n\nmore.\n\n2\n{CUE_2}\nTwo.\n"),  # a blank line inside
        ("a.srt", f"1\n{CUE_1}\nOne\nmore.\n2\n{CUE_2}\nTwo.\n"),  # none between
        ("a.srt", f"1\r{CUE_1}\rOne\rmore.\r\r2\r{CUE_2}\rTwo.\r"),
        ("a.srt", f"{CUE_1}\nOne more.\n{CUE_2}\nTwo."),  # no numbers
        ("a.vtt", f"WEBVTT\n\n{CUE_1}\nOne more.\n\nNOTE not\nthis\n\nid b\n{CUE_2}\nTwo.\n"),
        ("a.txt", f"1\n{CUE_1}\nOne more.\n\n2\n{CUE_2}\nTwo.\n"),  # of another suffix
        ("a.srt", f"1\r\r\n{CUE_1}\r\r\nOne more.\r\r\n\r\r\n2\r\r\n{CUE_2}\r\r\nTwo."),
        ("a.srt", f"1\n{CUE_1}\nOne more.\n\n\ufeff2\n{CUE_2}\nTwo.\n"),  # two files in one
        ("a.srt", f"#1.\n{CUE_1}\nOne more.\n\n#2.\n{CUE_2}\nTwo.\n"),
    ],
)
def test_cues_are_found_by_their_time_lines(tmp_path, name, text):
    assert spoken(said(tmp_path, name, text)) == [("One more.", 1, 2), ("Two.", 3, 4)]


@pytest.mark.parametrize(
    "shown, expected, repeats",
    [
        (["a b", "a b", "a b\nc d", "c d", "c d\ne f"], "a b c d e f", 4),  # line by line
        (["a", "a b", "a b c", "a b c d"], "a b c d", 3),  # word by word
        (["so so", "so so\nso good", "so good\nx y", "x y"], "so so so good x y", 3),
        (["No", "no", "yes", "No"], "No no yes No", 0),
        (["No", "No", "yes", "why"], "No No yes why", 0),  # once is no rolling
    ],
)
def test_captions_that_roll_give_each_word_once(tmp_path, shown, expected, repeats):
    times = [TIMES.format(f"{i}.000", f"{i + 1}.000") for i in range(len(shown))]
    cues = [f"{time}\n{text}\n\n" for time, text in zip(times, shown, strict=True)]
    found = said(tmp_path, "a.srt", "".join(cues))
    assert " ".join(u.text for u in found.utterances) == expected
    assert sum(found.counts.values()) == repeats


def test_less_and_more_are_no_markup(tmp_path):
    found = said(tmp_path, "a.srt", f"1\n{CUE_1}\n<b>3 < 5</b>, and\n5 > 3.\n")
    assert spoken(found) == [("3 < 5, and 5 > 3.", 1, 2)]


WORDS = [{"word": word, "start": i / 2, "end": i / 2 + 0.4} for i, word in enumerate("ab.cd")]
NUMERALS = [{"word": "20"}, {"word": "30"}]
LAYOUTS = {  # the same two sentences, "It was good." from 0 to 2 s and "We left." from 2 to 4 s
    "whisper.cpp": {
        "transcription": [
            {"offsets": {"from": 0, "to": 2000}, "text": " It was good."},
            {"offsets": {"from": 2000, "to": 4000}, "text": " We left."},
        ]
    },
    "transformers": {
        "chunks": [
            {"timestamp": [0, None], "text": " It was good."},
            {"timestamp": [2, 4], "text": " We left."},
        ]
    },
    "faster-whisper": [
        [1, 0, 0.0, 2.0, " It was good.", [50364, 2], 0.0, -0.3, None],
        [2, 0, 2.0, 4.0, " We left.", [1], 0.0, -0.3, [[2.0, 2.5, " We", 1], [3, 4, " left.", 1]]],
    ],
    "API": {
        "text": "It was good. We left.",
        "words": [
            {"word": word, "start": start, "end": end}
            for word, start, end in [("It", 0, 1), ("was", 1, 1.5), ("good", 1.5, 2), ("We", 2, 3),
                                     ("left", 3, 4)]
        ],
    },
    "whisperX": {  # numerals have no times of their own, their segments do
        "segments": [
            {"start": 0, "end": 2, "text": "It was good.", "words": [{"word": "It was good."}]},
            {"start": 2, "end": 4, "text": "We left.",
             "words": [{"word": "We"}, {"word": "left.", "start": 3, "end": 4}]},
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_speech_recognisers(tmp_path, layout):
    found = said(tmp_path, "a.json", json.dumps(LAYOUTS[layout]))
    assert spoken(found) == [("It was good.", 0, 2), ("We left.", 2, 4)]


WHISPERED = [(" It", 0, 1), (" costs", 1, 2), (" 3", 2, 3), (".5", 3, 4), (".", 4, 5)]


@pytest.mark.parametrize("layout", ["whisper", "transformers", "whisper.cpp"])
def test_whisper_s_words_begin_with_a_space(tmp_path, layout):
    text = "".join(word for word, _, _ in WHISPERED)
    contents = {
        "whisper": {"segments": [{"text": text, "start": 0, "end": 5, "words": [
            {"word": w, "start": s, "end": e} for w, s, e in WHISPERED]}]},
        "transformers": {"chunks": [{"text": w, "timestamp": [s, e]} for w, s, e in WHISPERED]},
        "whisper.cpp": {"transcription": [
            {"text": w, "offsets": {"from": 1000 * s, "to": 1000 * e}} for w, s, e in WHISPERED]},
    }  # fmt: skip
    (found,) = said(tmp_path, "a.json", json.dumps(contents[layout])).utterances
    assert [(p.text, p.start, p.end) for p in found.pieces] == [
        ("It", 0, 1), ("costs", 1, 2), ("3.5.", 2, 5)]  # fmt: skip


def test_words_keep_their_speakers_and_empty_ones_go(tmp_path):
    words = [("Yes", 0, 1, "A"), (" ", 1, 1, "A"), ("and", 1, 2, "A"), ("no", 2, 3, "B")]
    words = [dict(zip(("word", "start", "end", "speaker"), word, strict=True)) for word in words]
    found = said(tmp_path, "a.json", json.dumps({"text": "Yes and no", "words": words}))
    assert [(u.text, u.end, u.speaker) for u in found.utterances] == [
        ("Yes and", 2, "A"), ("no", 3, "B")]  # fmt: skip


def test_times_that_begin_anew_are_counted(tmp_path):
    times = [(0, 9), (9, 20), (0, 5), (5, 8)]
    chunks = [{"text": f" {i}.", "timestamp": time} for i, time in enumerate(times)]
    found = said(tmp_path, "a.json", json.dumps({"chunks": chunks}))
    assert found.counts == {"words or cues that begin before the one above them": 1}


@pytest.mark.parametrize(
    "text, words",
    [
        ("FrameNo\tAU1 Evidence\n" + "1\t0.25\n" * 20, "more digits than letters; is it a face"),
        ("0:00\nhello\n0:04\nyou\n", "2 of 4 lines hold a time, the first is '0:00'; take"),
        ("0:00:00.599,0:00:04.160\nhello\n\n0:00:04.160,0:00:06.000\nyou\n", "2 of 4 lines"),
        ("Anna  0:03\nHello.\nBen  0:09\nHi.\n", "the first is 'Anna  0:03'"),
        ("[00:01] Hello.\n[00:05] Hi.\n", "2 of 2 lines"),
    ],
)
def test_times_are_no_words(tmp_path, text, words):
    with fails(words):
        said(tmp_path, "a.txt", text)
    talk = "We met at 10:30.\nIt was 3:1 then.\nWell.\n"
    assert len(said(tmp_path, "a.txt", talk).utterances) == 3


def test_words_without_times_begin_the_sentence_that_follows(tmp_path):
    words = [("Good.", 0, 1), ("of", 1, 2), ("them", 2, 3)]
    content = json.loads(made.whisper(tmp_path / "a.json", *words).read_text())
    content["segments"][0]["words"].insert(1, {"word": "2", "start": float("nan"), "end": 1})
    found = said(tmp_path, "b.json", json.dumps(content))
    assert spoken(found) == [("Good.", 0, 1), ("2 of them", 1, 3)]
    assert found.counts == {"words without a time of their own, put with a neighbour": 1}


def test_ends_after_the_clip_are_cut_and_counted(tmp_path):
    path = made.whisper(tmp_path / "a.json", ("Good.", -0.02, 1), ("Bad.", 2, 9))
    found = read_transcript(path, 3)
    assert spoken(found) == [("Good.", 0, 1), ("Bad.", 2, 3)]
    assert set(found.counts.values()) == {1} and len(found.counts) == 2
    with fails("is it the transcript of another clip"):
        read_transcript(made.whisper(path, ("Good.", 0, 1), ("Bad.", 4, 5)), 3)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ab\n\nBEN: cdef\n", [("ab", 0, 20, ""), ("cdef", 20, 60, "BEN")]),
        ("Ab. Cde!", [("Ab.", 0, 180 / 7, ""), ("Cde!", 180 / 7, 60, "")]),
        ("Ab! Dr. Ef.", [("Ab!", 0, 18, ""), ("Dr. Ef.", 18, 60, "")]),
    ],
)
def test_plain_text_shares_the_clip_by_characters(tmp_path, text, expected):
    found = said(tmp_path, "a.txt", text)
    assert not found.timed
    for one, (words, start, end, speaker) in zip(found.utterances, expected, strict=True):
        assert (one.text, one.speaker) == (words, speaker)
        assert (one.start, one.end) == pytest.approx((start, end))


def test_a_sentence_that_goes_on_is_cut_between_words(tmp_path):
    words = [(f"w{i}", i * 0.5, i * 0.5 + 0.4) for i in range(100)]
    found = read_transcript(made.whisper(tmp_path / "a.json", *words), 60).utterances
    assert sum(len(u.pieces) for u in found) == 100
    assert all(u.end - u.start <= 20 for u in found) and len(found) == 3


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.doc", "x", "no transcript layout; give one of .json"),
        ("a.txt", "schön".encode("latin-1"), "wrong encoding, byte 3 is no UTF-8"),
        ("a.txt", " \n[music]\n", "no words in it"),
        ("a.srt", "hello", "no cue"),
        ("a.srt", "1\n0:01 -> x --> 00:00:02,000\nHm.\n", "cue 1: no time '0:01 -> x'"),
        ("a.srt", "1\n1h02m --> 00:00:02,000\nHm.\n", "cue 1: no time '1h02m'; write 00:01:02"),
        ("a.srt", "1\n00:00:05,0 --> 00:00:02,0\nHm.\n", "'Hm.' from 5 to 2 s; correct the times"),
        ("a.srt", "1\n00:00:05,0 --> 00:02:02,0\nHm.\n", "until 122.0 s, the clip lasts 60.0 s"),
        ("a.srt", f"{CUE_1}\nOne\n00:00:03,000 -> 00:00:04,000\nTwo", "cue 1: times in its text"),
        ("a.srt", "H\0m\0", "wrong encoding, zeros"),
        ("a.json", json.dumps({"words": [*WORDS, *NUMERALS * 9]}), "18 of 23 words have no time"),
        ("a.json", json.dumps({"words": WORDS * 20 + NUMERALS * 11}), "up to 22 in a row"),
        ("a.json", json.dumps({"text": "a, b and all that", "words": WORDS}), "leave out a part"),
        ("a.json", "[" * 100_000, "a.json: cannot be read .RecursionError"),
        ("a.json", "{", "no word-timed JSON"),
        ("a.json", "[]", "no word-timed JSON"),
        ("a.json", '{"segments": [{"text": "a"}]}', "no word has a time"),
        ("a.json", '{"segments": [{"words": [{"start": 1}]}]}', "no word-timed JSON"),
        ("a.json", '{"segments": [{"text": "a", "start": NaN, "end": 1}]}', "from nan to 1 s"),
        ("a.json", '{"segments": [{"text": "a", "start": -1, "end": 1}]}', "from -1 to 1 s"),
        ("a.json", '{"segments": [{"text": "a", "start": "0,5", "end": "1,5"}]}', "no word-timed"),
    ],
)
def test_bad_transcripts(tmp_path, name, text, words):
    with fails(words):
        said(tmp_path, name, text)


def test_what_cannot_be_written_as_text_does_not_stop_a_run(tmp_path):
    words = r'{"segments": [{"start": 0, "end": 1, "text": "ab \ud800 cd", "speaker": 7}]}'
    (found,) = said(tmp_path, "a.json", words).utterances
    assert (found.text, found.speaker) == ("ab ? cd", "7")


def test_the_first_speaker_may_be_called_0(tmp_path):
    segments = [{"start": i, "end": i + 1, "text": f" Yes {i} do.", "speaker": i} for i in range(2)]
    found = said(tmp_path, "a.json", json.dumps({"segments": segments})).utterances
    assert [one.speaker for one in found] == ["0", "1"]


def test_segments_of_one_word_are_not_glued_together(tmp_path):
    """whisperX writes a blank only before the first sentence of a part."""
    texts = [(" Yes.", 0, "A"), ("No.", 5, "B"), (" I mean it.", 8, "B")]
    segments = [{"start": at, "end": at + 1, "text": text, "speaker": who, "words": [
        {"word": word, "start": at, "end": at + 1} for word in text.split()]}
        for text, at, who in texts]  # fmt: skip
    found = said(tmp_path, "a.json", json.dumps({"segments": segments})).utterances
    assert [(one.text, one.start, one.end, one.speaker) for one in found] == [
        ("Yes.", 0, 1, "A"), ("No.", 5, 6, "B"), ("I mean it.", 8, 9, "B")]  # fmt: skip


def test_webvtt_after_a_blank_line_and_a_voice_without_a_name(tmp_path):
    text = ("\nWEBVTT\n\n00:03.000 --> 00:04.000\n<v.loud>I liked it.\n\nNOTE the end is bad\n\n"
            "intro\n00:05.000 --> 00:06.000\nAll of it.\n")  # fmt: skip
    found = said(tmp_path, "a.vtt", text).utterances
    assert [one.text for one in found] == ["I liked it.", "All of it."]


def test_missing_transcript_file(tmp_path):
    with fails("give the transcript of the clip"):
        read_transcript(tmp_path / "no.srt", 1)


# Faces


def openface(path, rows: pd.DataFrame, **options):
    path.write_text(rows.to_csv(index=False, **options))
    return path


def openface_rows(n: int = 10) -> pd.DataFrame:
    units = {f"AU{k:02d}_r": np.full(n, 1.0) for k in (1, 2, 4, 5, 6, 7, 9, 12, 14, 15, 20, 26, 45)}
    facts = {"frame": np.arange(n) + 1, " timestamp": np.arange(n) / 25, " confidence": 0.9}
    return pd.DataFrame({**facts, " success": 1, **units, "AU28_c": 1.0, "pose_Ry": np.pi / 6})


def channel(faces, name: str) -> np.ndarray:
    return faces.values[:, FACET.index(name)]


def test_facet_by_its_own_names(tmp_path):
    values = np.tile(np.arange(35.0), (10, 1))
    values[4] = np.nan
    values[5, 3] = np.nan
    found = read_faces(made.facet(tmp_path / "f.txt", values), 1)
    assert found.program == "FACET" and found.absent == () and found.step == pytest.approx(0.04)
    assert np.array_equal(found.values, values[[0, 1, 2, 3, 6, 7, 8, 9]])
    assert found.counts == {"frames": 10, "lost": 2, "several faces": 0}


def test_decimal_commas_that_begin_late(tmp_path):
    values = np.full((100, 35), 0.5)
    values[:80] = np.nan
    path = made.facet(tmp_path / "f.txt", values)
    path.write_text(path.read_text().replace("0.5", "0,5"))
    found = read_faces(path, 4)
    assert len(found.values) == 20 and (found.values == 0.5).all()


def test_openface_mapping(tmp_path):
    rows = openface_rows()
    rows["AU12_r"], rows["AU06_r"], rows["AU09_r"] = 4.0, 2.0, 0.0
    found = read_faces(openface(tmp_path / "f.csv", rows), 1)
    expected = {"AU12": 3, "AU6": 1, "AU28": 1, "AU43": 0, "AU18": 0, "Joy": 2, "Positive": 2}
    expected |= {"Disgust": -0.5, "Negative": 0, "Neutral": -2, "Yaw": 30, "Confusion": 1}
    for name, value in expected.items():
        assert channel(found, name) == pytest.approx(value), name
    assert {"AU18", "AU24", "Pitch"} <= set(found.absent)


def test_openface_keeps_the_face_that_is_seen_most(tmp_path):
    one, two = openface_rows(10), openface_rows(4)
    one[" face_id"], two[" face_id"] = 1, 0
    two["AU12_r"] = 5.0
    one.loc[7, " success"], one.loc[8, " confidence"] = 0, 0.2
    found = read_faces(openface(tmp_path / "f.csv", pd.concat([two, one])), 1)
    assert found.counts == {"frames": 10, "lost": 2, "several faces": 4}
    assert (channel(found, "AU12") == 0).all() and len(found.time) == 8


def pyfeat_rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "frame": [0, 1, 1, 2],
            "FaceScore": [0.99, 0.98, 0.97, np.nan],
            "FaceRectWidth": [9, 5, 9, np.nan],
            "FaceRectHeight": [9, 5, 9, np.nan],
            "AU01": [0.5, 0.1, 0.9, np.nan],
            "AU14": [1.0, 0.1, 0.9, np.nan],
            "happiness": [10 / 11, 0.1, 0.0, np.nan],
            "anger": [0.5, 0.1, 0.9, np.nan],
            "Yaw": [10.0, 1, 20, np.nan],
        }
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_face_exports_of_other_encodings(tmp_path, encoding):
    text = openface(tmp_path / "f.csv", openface_rows(), sep=";", decimal=",").read_text()
    path = tmp_path / "g.csv"
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert read_faces(path, 1).values == pytest.approx(read_faces(tmp_path / "f.csv", 1).values)


@pytest.mark.parametrize("separator, decimal", [(",", "."), (";", ","), ("\t", ",")])
def test_pyfeat_odds_the_largest_face_and_locales(tmp_path, separator, decimal):
    path = openface(tmp_path / "f.csv", pyfeat_rows(), sep=separator, decimal=decimal)
    found = read_faces(path, 1, frame_rate=10)
    assert found.time.tolist() == [0.0, 0.1] and found.counts["several faces"] == 1
    assert channel(found, "Joy") == pytest.approx([1.0, -2.0], abs=1e-5)  # 10 : 1; the bound
    assert channel(found, "AU1") == pytest.approx([0.0, np.log10(9)], abs=1e-5)
    assert channel(found, "Contempt") == pytest.approx([2.0, np.log10(9)], abs=1e-5)
    assert channel(found, "Yaw").tolist() == [10.0, 20.0]


def test_newer_pyfeat_turns_heads_in_radians(tmp_path):
    rows = pyfeat_rows().assign(Yaw=[0.1, 0.2, -0.3, np.nan])
    found = read_faces(openface(tmp_path / "f.csv", rows), 1, frame_rate=10)
    assert channel(found, "Yaw") == pytest.approx(np.degrees([0.1, -0.3]))


def test_several_stimuli_are_chosen_by_name(tmp_path):
    path = made.facet(tmp_path / "f.txt", np.ones((6, 35)))
    lines = path.read_text().splitlines()
    lines[2:] = [
        f"StimulusName\t{lines[2]}",
        *(f"s{i // 9}\t{x}" for i, x in enumerate(lines[3:], 6)),
    ]
    path.write_text("\n".join(lines))
    with fails(r"several stimuli \(s0, s1\)"):
        read_faces(path, 1)
    assert len(read_faces(path, 1, stimulus="s1").time) == 3


def test_pyfeat_of_several_clips_is_chosen_by_name(tmp_path):
    one, two = (pyfeat_rows().assign(input=f"x/{name}.mp4") for name in "ab")
    path = openface(tmp_path / "f.csv", pd.concat([one, two.assign(AU14=0.5)]))
    with fails(r"several stimuli \(a, b\)"):
        read_faces(path, 1, 10)
    found = read_faces(path, 1, 10, stimulus="b")
    assert (channel(found, "Contempt") == 0).all() and found.counts["several faces"] == 1
    images = pyfeat_rows().assign(input=["0.png", "1.png", "1.png", "2.png"])
    assert read_faces(openface(path, images), 1, 10).counts["frames"] == 3


def test_openface_on_images_takes_a_frame_rate(tmp_path):
    path = openface(tmp_path / "f.csv", openface_rows().assign(**{" timestamp": 0.0}))
    assert read_faces(path, 1, 10).time == pytest.approx(np.arange(10) / 10)
    with fails("gives images no times; give their rate"):
        read_faces(path, 1)
    path = openface(path, openface_rows().drop(columns=["frame", " timestamp"]))
    with fails("run OpenFace's FeatureExtraction"):
        read_faces(path, 1, 10)


def test_a_frame_of_another_person_is_lost(tmp_path):
    one, two = openface_rows(10), openface_rows(10).iloc[6:]
    one, two = one.iloc[:8].assign(face_id=0), two.assign(face_id=1, AU12_r=5.0)
    found = read_faces(openface(tmp_path / "f.csv", pd.concat([one, two])), 1)
    assert (channel(found, "AU12") == 0).all() and len(found.time) == 8
    assert found.counts == {"frames": 10, "lost": 2, "several faces": 2}
    rows = pyfeat_rows().assign(Identity=["Person_0", "Person_0", "Person_1", np.nan])
    found = read_faces(openface(tmp_path / "g.csv", rows), 1, 10)
    assert channel(found, "AU1") == pytest.approx([0, -np.log10(9)], abs=1e-5)


def pyfeat_faces(*faces: tuple[int, int, int, float]) -> pd.DataFrame:
    """Faces (frame, left edge, width, AU01) as py-feat before 0.7 writes them: without Identity."""
    rows = pd.DataFrame(faces, columns=["frame", "FaceRectX", "FaceRectWidth", "AU01"])
    return rows.assign(
        FaceRectY=50, FaceRectHeight=rows["FaceRectWidth"], FaceScore=0.99, happiness=0.5, AU14=0.5
    )


@pytest.mark.parametrize("identity", [None, "", np.nan])
def test_people_without_names_are_followed_by_their_places(tmp_path, identity):
    one = [(frame, 10 + frame, 100, 0.5) for frame in range(8)]
    two = [(frame, 400 - frame, 120, 0.9) for frame in range(6, 12)]  # larger, and seen less
    rows = pyfeat_faces(*one, *two)
    rows = rows if identity is None else rows.assign(Identity=identity)
    faces = read_faces(openface(tmp_path / "f.csv", rows), 1, 20)
    assert channel(faces, "AU1") == pytest.approx(np.zeros(8), abs=1e-5)
    assert faces.time == pytest.approx(np.arange(8) / 20)
    assert faces.counts == {"frames": 12, "lost": 4, "several faces": 2}


def test_a_cut_or_a_face_that_is_none_does_not_lose_the_person(tmp_path):
    shots = [(frame, 10 if frame < 10 else 600, 100, 0.5) for frame in range(20)]
    ghosts = [(frame, 300 * (frame % 3), 20, 0.9) for frame in range(0, 20, 3)]
    faces = read_faces(openface(tmp_path / "f.csv", pyfeat_faces(*shots, *ghosts)), 1, 20)
    assert channel(faces, "AU1") == pytest.approx(np.zeros(20), abs=1e-5)
    assert faces.counts == {"frames": 20, "lost": 0, "several faces": 7}


def test_frames_whose_time_is_no_number_are_counted_as_lost(tmp_path):
    rows = openface_rows(10)
    rows[" timestamp"] = rows[" timestamp"].astype(str)
    rows.loc[[2, 5, 6], " timestamp"] = ["1.234,5", "?", ""]
    faces = read_faces(openface(tmp_path / "f.csv", rows), 1)
    assert faces.counts == {"frames": 10, "lost": 3, "several faces": 0}


def test_cells_that_windows_calls_no_number(tmp_path):
    text = openface_rows().to_csv(index=False, sep=";", decimal=",").splitlines()
    text[3] = text[3].replace(";1,0", "; -nan(ind)")
    (tmp_path / "f.csv").write_text("\n".join(text))
    found = read_faces(tmp_path / "f.csv", 1)
    assert found.counts["lost"] == 1 and (channel(found, "AU12") == 0).all()


def test_pyfeat_2_by_its_columns(tmp_path):
    old = pyfeat_rows().assign(Yaw=1.0, Pitch=0.5, Roll=-1.5, neutral=0.5)
    radians = {name: np.radians(old[name]) for name in ("Yaw", "Pitch")}
    new = old.assign(**radians, Roll=np.radians(1.5), X=0.0)
    new = new.rename(columns={"happiness": "Happy", "anger": "Anger", "neutral": "Neutral"})
    old = old.assign(Yaw=1.0, Pitch=2.0)  # what is under 90 / 57 degrees could be either
    new["Pitch"] = np.radians(2.0)
    found = [
        read_faces(openface(tmp_path / name, rows), 1, 10)
        for name, rows in (("old.csv", old), ("new.csv", new))
    ]
    assert found[0].values == pytest.approx(found[1].values, abs=1e-5)
    assert found[0].absent == found[1].absent


@pytest.mark.parametrize(
    "change, seconds, words",
    [
        (lambda rows: rows[["frame"]], 1, "no column AU1 Evidence or AU01_r or AU01"),
        (lambda rows: rows.assign(AU12_r=np.nan), 1, "no usable face in 10 frames"),
        (lambda rows: rows.iloc[:0], 1, "no rows"),
        (lambda rows: rows.drop(columns=" confidence"), 1, "column 'confidence' is missing"),
        (lambda rows: rows.assign(**{" timestamp": 90.0}), 60, "faces until 90.0 s, the clip"),
        (
            lambda rows: pd.concat([rows, rows]).assign(face_id=0),
            1,
            "face 0 stands twice at 0 s; give",
        ),
    ],
)
def test_bad_face_exports(tmp_path, change, seconds, words):
    with fails(words):
        read_faces(openface(tmp_path / "f.csv", change(openface_rows())), seconds)


def test_other_bad_face_exports(tmp_path):
    (tmp_path / "f.csv").write_bytes("AU01_r,é\n".encode("latin-1"))
    with fails("wrong encoding"):
        read_faces(tmp_path / "f.csv", 1)
    with fails("give the face export"):
        read_faces(tmp_path / "no.csv", 1)
    with fails("anger holds 90, py-feat gives probabilities; export it again, or divide"):
        read_faces(openface(tmp_path / "g.csv", pyfeat_rows().assign(anger=90)), 1, 10)
    with fails("give their rate, e.g. --fps 25"):
        read_faces(openface(tmp_path / "g.csv", pyfeat_rows()), 1)


# Alignment


def test_collapse_by_hand():
    values = np.array([[1.0], [2], [4], [8]])
    frames = np.array([(0, 1), (1, 2), (2, 3), (5, 6)])
    wanted = {
        (0, 1): 1,  # touches the second frame only
        (0.5, 2.5): 7 / 3,  # frames count whole, however far they reach in
        (1.9999, 2.5): 3,
        (2, 5.5): 6,  # over the gap
        (3, 5): np.nan,  # in the gap
        (0, 9): 15 / 4,
    }
    found = collapse(values, frames, np.array(list(wanted)))
    assert found[:, 0] == pytest.approx(list(wanted.values()), nan_ok=True)


def test_collapse_of_overlapping_frames_and_words():
    values, frames = np.array([[1.0, 0], [3, 1]]), np.array([(0, 2.0), (1, 3)])
    found = collapse(values, frames, np.array([(0.0, 1), (0, 2), (1, 3), (2.5, 2.6)]))
    assert found.tolist() == [[1, 0], [2, 0.5], [2, 0.5], [3, 1]]


# A clip


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return record(tmp_path_factory.mktemp("my recording ü"), utterances=2)


def test_a_clip_holds_covarep_means_of_each_utterance(demo):
    found = build(demo.clip, demo.transcript, demo.faces)
    wave = samples(demo.clip)
    audio = found.sequences["audio"]
    assert audio.columns == FEATURES and audio.lengths.tolist() == [1, 1, 0]
    assert found.counts["utterances without audio features, under 0.82 s"] == 1
    start, end = (round(edge[1] * RATE) for edge in (found.start, found.end))
    table = extract(wave[start:end], RATE)
    expected = utterance_means(table, 0, len(wave)).to_numpy()[0]
    assert audio[1][0] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    f0 = demo.f0[start:end].mean()
    assert audio[1][0][0] == pytest.approx(f0, rel=0.1), "pitch is that of the truth"


@pytest.mark.parametrize("level", ["word", "frame"])
def test_levels(demo, level):
    found = build(demo.clip, demo.transcript, demo.faces, options=Options(level=level))
    means = build(demo.clip, demo.transcript, demo.faces).sequences
    words = len(found.text[0].split())
    audio, vision = (found.sequences[m] for m in ("audio", "vision"))
    assert len(audio[0]) == words if level == "word" else len(audio[0]) > words
    assert len(vision[0]) <= words if level == "word" else len(vision[0]) > words
    if level == "frame":
        assert audio[0].mean(axis=0) == pytest.approx(means["audio"][0][0], rel=1e-3, abs=1e-3)


def test_long_utterances_are_analysed_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("mmlib.recordings.audio.LONGEST", 1.5)
    media = made.write_wav(tmp_path / "a.wav", made.voice(4, f0=150))
    (tmp_path / "a.txt").write_text("All of it")
    found = build(media, tmp_path / "a.txt", options=Options(level="frame")).sequences["audio"]
    assert len(found.values) == pytest.approx(400, abs=6)
    assert np.median(found.values[:, 0]) == pytest.approx(150, abs=2)


def test_a_long_pause_does_not_take_the_speech_of_its_utterance(tmp_path, monkeypatch):
    monkeypatch.setattr("mmlib.recordings.audio.LONGEST", 1.5)
    wave = np.concatenate([np.zeros(RATE * 3 // 2), made.voice(3, f0=150)])
    media = made.write_wav(tmp_path / "a.wav", wave)
    (tmp_path / "a.txt").write_text("All of it")
    clip = build(media, tmp_path / "a.txt", options=Options(level="frame"))
    audio = clip.sequences["audio"]
    assert len(audio.values) == pytest.approx(300, abs=4)
    assert set(clip.counts) == {"utterances with guessed times (txt)"}
    voiced = audio.values[:, FEATURES.index("VUV")] == 1
    assert np.median(audio.values[voiced, 0]) == pytest.approx(150, abs=2)


def test_utterances_without_voice_are_masked_and_counted(tmp_path):
    wave = np.concatenate([made.voice(1), np.zeros(2 * RATE)])
    media = made.write_wav(tmp_path / "a.wav", wave)
    made.whisper(tmp_path / "a.json", ("Yes.", 0, 1), ("Silence.", 1.2, 2.9))
    found = build(media, tmp_path / "a.json")
    assert found.sequences["audio"].lengths.tolist() == [1, 0]
    assert found.counts == {
        "utterances without audio features, nothing voiced, or too little outside silence": 1
    }


def test_egemaps_behind_the_same_interface(demo):
    pytest.importorskip("opensmile")
    found = build(demo.clip, demo.transcript, options=Options(audio="egemaps"))
    audio = found.sequences["audio"]
    assert len(audio.columns) == 25 and audio.lengths.tolist() == [1, 1, 0]
    assert np.isfinite(audio.values).all() and audio.values.any()


@pytest.mark.parametrize("option", [{"audio": "mfcc"}, {"level": "video"}])
def test_unknown_options(option):
    with fails("unknown .*; choose one of"):
        Options(**option)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Options(frame_rate=0),
        lambda: Options(frame_rate=float("nan")),
        lambda: Options(frame_rate=float("inf")),
        lambda: Limits(hours=float("nan")),
        lambda: Limits(gigabytes=-1),
        lambda: build_corpus(["a.wav"], "out", workers=0),
    ],
)
def test_numbers_out_of_range(make):
    with fails("; give (1 or )?more"):
        make()


# A folder


@pytest.fixture(scope="module")
def built(demo, tmp_path_factory):
    """The corpus of the demo, once."""
    out = tmp_path_factory.mktemp("a corpus")
    assert build_corpus([demo.clip], out, demo.transcript, demo.faces).empty
    return out


def test_a_corpus_that_load_reads_with_a_passport(built):
    corpus = load(str(built))
    assert corpus.modalities == ("text", "audio", "vision") and not corpus.labelled
    assert corpus.ids[0] == "demo[0]" and set(corpus.groups) == {"demo"}
    assert corpus.sequences["vision"].columns == FACET
    assert any("under 0.82 s: 1" in note for note in corpus.notes)
    facts = json.loads((built / "passport.json").read_text())
    assert facts["without_features"] == {"audio": ["demo[2]"]}
    assert "none: 3 utterances without labels" in str(passport(corpus))
    assert "splits" not in facts["frames"]


def test_a_folder_may_be_called_like_a_data_set(tmp_path, monkeypatch, capsys):
    made.clip(tmp_path, "a", made.voice(1.0))
    monkeypatch.chdir(tmp_path)
    assert main(["a.wav", "--out", "hotel"]) == 0
    assert capsys.readouterr().out.startswith("1 utterances of ")
    assert json.loads((tmp_path / "hotel" / "passport.json").read_text())["name"] != "hotel"


def test_one_transcript_does_not_serve_several_recordings(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in "ab":
        made.clip(tmp_path / "clips", name, made.voice(1.0))
    with fails("one transcript or face file for several recordings; name its folder"):
        build_corpus([tmp_path / "clips"], tmp_path / "out", tmp_path / "clips" / "a.json")


def test_a_transcript_may_be_named_by_its_language_if_there_is_one(tmp_path):
    made.clip(tmp_path, "a", made.voice(1.0))
    (tmp_path / "a.json").rename(tmp_path / "a.en.json")
    out = tmp_path / "out"
    assert build_corpus([tmp_path], out).empty
    (tmp_path / "a.en-orig.vtt").write_text(VTT)  # another download of the same captions
    (out / "clips" / "a.safetensors").unlink()
    with pytest.raises(DataError, match=r"a\.wav: no transcript .*, or several languages"):
        build_corpus([tmp_path], out)


def test_a_transcript_is_of_one_recording(tmp_path):
    for name in ("day1", "day2", "tr"):
        (tmp_path / name).mkdir()
        made.clip(tmp_path / name, "a", made.voice(1.0))
    (tmp_path / "tr" / "a.wav").unlink()
    places = [tmp_path / "day1", tmp_path]
    reasons = build_corpus(places, tmp_path / "out", tmp_path / "tr")["reason"]
    assert len(reasons) == 1 and "day2/a.wav: " in reasons[0] and "tr/a.json is of " in reasons[0]


def test_recordings_of_two_cameras_that_number_alike_are_both_kept(tmp_path):
    for camera in ("cam1", "cam2"):
        (tmp_path / camera).mkdir()
        made.encode(tmp_path / camera / "a.mp4", made.voice(1.0)).rename(
            tmp_path / camera / "1.MTS"
        )
        (tmp_path / camera / "1.txt").write_text(f"Of {camera}.")
    assert build_corpus([tmp_path / "cam1", tmp_path / "cam2"], tmp_path / "out").empty
    assert set(load(str(tmp_path / "out")).text) == {"Of cam1.", "Of cam2."}


def test_a_mistyped_recording_costs_itself_only(tmp_path):
    made.clip(tmp_path, "b", made.voice(1.0))
    (tmp_path / "faces" / "a.csv").write_text("half")
    clips = [tmp_path / "no" / "a.wav", tmp_path / "b.wav"]
    reasons = build_corpus(clips, tmp_path / "out", faces=tmp_path / "faces")["reason"]
    assert len(reasons) == 1 and "no such file" in reasons[0]


def test_a_name_too_long_for_its_features_is_told_first(tmp_path):
    made.clip(tmp_path, "b", made.voice(1.0))
    made.write_wav(tmp_path / f"{'あ' * 80}.wav", made.voice(0.1))
    reasons = build_corpus([tmp_path], tmp_path / "out")["reason"]
    assert len(reasons) == 1 and reasons[0].endswith("its name has over 220 bytes; shorten it")


def test_a_camera_s_original_beside_its_export_is_no_second_clip(tmp_path):
    made.clip(tmp_path, "a", made.voice(1.0))
    made.encode(tmp_path / "a.mp4", made.voice(1.0)).rename(tmp_path / "a.m4v")
    build_corpus([tmp_path], tmp_path / "out")
    assert load(str(tmp_path / "out")).ids == ("a[0]",)
    assert probe(tmp_path / "a.m4v").seconds > 0.9


@pytest.mark.parametrize("suffix", [".wav", ".WAV"])
def test_a_transcript_of_a_cut_is_none_of_the_whole(tmp_path, suffix):
    made.clip(tmp_path, "talk.cut", made.voice(1.0))
    (tmp_path / "talk.cut.wav").rename(tmp_path / f"talk.cut{suffix}")
    made.write_wav(tmp_path / "talk.wav", made.voice(1.0))
    reasons = build_corpus([tmp_path], tmp_path / "out")["reason"]
    assert len(reasons) == 1 and "talk.wav: no transcript" in reasons[0]


def test_a_transcript_beside_a_clip_comes_before_one_deeper(tmp_path):
    for folder, word in ((tmp_path / "x", "Outer."), (tmp_path / "x" / "x", "Inner.")):
        folder.mkdir()
        made.write_wav(folder / "a.wav", made.voice(1.0))
        (folder / "a.txt").write_text(word)
    assert build_corpus([tmp_path], tmp_path / "out").empty
    assert set(load(str(tmp_path / "out")).text) == {"Outer.", "Inner."}


def test_another_recording_of_the_same_name_is_refused(tmp_path):
    for day, f0 in (("day1", 140.0), ("day2", 200.0)):
        (tmp_path / day).mkdir()
        made.clip(tmp_path / day, "a", made.voice(1.0, f0))
    made.whisper(tmp_path / "day2" / "a.json", ("Other.", 0, 1))
    build_corpus([tmp_path / "day1"], out := tmp_path / "out")
    reasons = build_corpus([tmp_path / "day2"], out)["reason"]
    assert "is of another recording; rename one of the two" in reasons[0]
    assert load(str(out)).text == ("Very good.",)


def test_films_of_cameras_and_phones_are_found(tmp_path):
    made.encode(tmp_path / "a.mp4", made.voice(1.0)).rename(tmp_path / "a.M4V")
    (tmp_path / "a.txt").write_text("All of it.")
    assert build_corpus([tmp_path], tmp_path / "out").empty


def test_a_wrong_folder_of_faces_costs_no_features(tmp_path):
    made.clip(tmp_path, "a", made.voice(1.0))
    build_corpus([tmp_path], out := tmp_path / "out", faces=tmp_path / "faces")
    with fails("fces: no such file or folder"):
        build_corpus([tmp_path], out, faces=tmp_path / "fces")
    assert load(str(out)).ids == ("a[0]",)


def test_a_damaged_face_export_in_a_folder_of_its_own_is_told(tmp_path):
    made.clip(tmp_path, "a", made.voice(1.0))
    (tmp_path / "faces" / "a.txt").write_text("half an export")
    with fails("no column .* give an export of iMotions"):
        build_corpus([tmp_path], tmp_path / "out", faces=tmp_path / "faces")


def test_a_transcript_beside_a_missing_face_export_is_read(tmp_path):
    made.write_wav(tmp_path / "a.wav", made.voice(1.0))
    (tmp_path / "a.txt").write_text("All of it.")
    assert build_corpus([tmp_path], tmp_path / "out", faces=tmp_path).empty
    assert "clips without a face export: 1" in load(str(tmp_path / "out")).notes


def test_a_transcript_named_by_its_file_is_none_of_the_faces_in_its_folder(tmp_path):
    made.write_wav(tmp_path / "a.wav", made.voice(1.0))
    (tmp_path / "a.txt").write_text("All of it.")
    given = [tmp_path / "a.wav"], tmp_path / "out", tmp_path / "a.txt"
    assert build_corpus(*given, faces=tmp_path).empty
    assert load(str(tmp_path / "out")).text == ("All of it.",)


def test_clips_of_two_levels_are_no_corpus(tmp_path):
    for name in "ab":
        made.clip(tmp_path, name, made.voice(1.0))
    build_corpus([tmp_path / "a.wav"], tmp_path / "out")
    with fails("clips of the levels frame and utterance; make them again with one --level"):
        build_corpus([tmp_path / "b.wav"], tmp_path / "out", options=Options(level="frame"))
    assert len(build_corpus([tmp_path], tmp_path / "out", options=Options(level="frame"))) == 0
    assert load(str(tmp_path / "out")).ids == ("a[0]", "b[0]")


def test_the_table_of_a_corpus_may_be_named_itself(built):
    """It was read as a table of texts, without sound."""
    assert load(str(built / "utterances.csv")).modalities == ("text", "audio", "vision")


def test_labels_filled_in_make_a_data_set_and_survive_a_rerun(tmp_path):
    for name in "abcdef":
        made.clip(tmp_path, name, made.voice(1.0))
    build_corpus([tmp_path], out := tmp_path / "recordings")
    table = pd.read_csv(out / "utterances.csv", dtype=str, keep_default_na=False)
    table["label"] = [f"{x:.2f}".replace(".", ",") for x in np.linspace(-3, 3, 6)]
    table["split"] = np.repeat(["train", "valid", "test"], 2)
    table.loc[0, "text"] = "Corrected words."
    table.to_csv(out / "utterances.csv", index=False)
    assert build_corpus([tmp_path], out).empty
    corpus = load("recordings", tmp_path)
    assert corpus.labelled and corpus.text[0] == "Corrected words."
    assert corpus.label[[0, -1]].tolist() == [-3, 3] and corpus.rows("train").tolist() == [0, 1]
    assert passport(corpus).table().loc["train", "n"] == 2


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.drop(columns="start"), "missing column"),
        (lambda t: t.assign(start="9"), "starts at 9 s, in its clip at .* s; leave the starts as"),
        (lambda t: t.iloc[:0], "no utterance; add some"),
        (lambda t: t.assign(id="demo[99]").iloc[:1], "is no utterance of clip"),
        (lambda t: t.assign(label=["1", "", ""]), "has no label or split, others do"),
        (lambda t: t.assign(label="good", split="test"), "labels are numbers"),
        (lambda t: t.assign(clip="other"), "missing or damaged"),
        (
            lambda t: t.assign(clip="../../outside"),
            "'../../outside' lies outside; leave the column",
        ),
        (lambda t: t.assign(clip="/etc/outside"), "'/etc/outside' lies outside; leave the column"),
        (lambda t: t.assign(id="demo[²]").iloc[:1], "is no utterance of clip"),
    ],
)
def test_a_table_spoilt_by_hand(tmp_path, built, change, words):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "utterances.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)
    with fails(words):
        load(str(tmp_path))


def drill(folder, n: int, workers: int) -> tuple[pd.DataFrame, int]:
    """A folder of n clips, each 20th broken in some way: what was skipped, how many are kept."""
    folder.mkdir()
    kinds = list(made.BROKEN)
    waves = [made.voice(1.0, f0) for f0 in np.linspace(100, 220, 12)]
    expected = {}
    for i in range(n):
        kind = kinds[i // 20 % 7] if i % 20 == 7 else ""
        made.clip(folder, f"clip {i:03d}", waves[i % 12], kind)
        if kind:
            expected[f"clip {i:03d}"] = made.BROKEN[kind]
    skipped = build_corpus([folder], folder / "corpus", faces=folder / "faces", workers=workers)
    assert len(skipped) == len(expected)
    for path, reason in skipped.itertuples(index=False):
        (name,) = [name for name in expected if name in path]
        assert expected[name] in reason and "\n" not in reason, (name, reason)
    return skipped, len(load(str(folder / "corpus")))


def test_a_folder_with_broken_clips_finishes(tmp_path, monkeypatch):
    kinds = list(made.BROKEN)
    for i, kind in enumerate(["", *kinds, ""]):
        made.clip(tmp_path, f"{i} ü", made.voice(1.0, 120 + 10 * i), kind)
    skipped = build_corpus([tmp_path], out := tmp_path / "out", faces=tmp_path / "faces")
    assert len(load(str(out))) == 2 and len(skipped) == 7
    for kind, reason in zip(kinds, skipped["reason"], strict=True):
        assert made.BROKEN[kind] in reason, reason
    assert pd.read_csv(out / "skipped.csv").equals(skipped)
    assert not list(out.rglob("*.part"))

    remade = []
    monkeypatch.setattr(
        "mmlib.recordings.folder.save_clip", lambda clip, out: remade.append(clip.id)
    )
    made.clip(tmp_path, "1 ü", made.voice(1.0, 120))  # mended
    build_corpus([tmp_path], out, faces=tmp_path / "faces")
    assert remade == ["1 ü"], "what is there is not made again"


@pytest.mark.slow
def test_500_clips_with_five_percent_broken(tmp_path):
    skipped, kept = drill(tmp_path / "many", 500, workers=2)
    assert kept == 475 and len(skipped) == 25


def test_a_clip_that_became_unusable_leaves_no_old_features(tmp_path):
    made.clip(tmp_path, "a", made.voice(1.0))
    made.clip(tmp_path, "b", made.voice(1.0))
    build_corpus([tmp_path], out := tmp_path / "out")
    made.clip(tmp_path, "a", made.voice(1.0), "silent")
    skipped = build_corpus([tmp_path], out)
    assert load(str(out)).ids == ("b[0]",) and "silent" in skipped["reason"][0]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    made.clip(tmp_path, "a", made.voice(1.0))
    before = set(tmp_path.rglob("*"))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"\A[^\n]*No space left on device[^\n]*\Z"):
        build_corpus([tmp_path], tmp_path / "out")
    left = [path for path in set(tmp_path.rglob("*")) - before if path.is_file()]
    assert not left


def test_a_parsers_own_error_names_file_and_place(tmp_path, demo, monkeypatch):
    def trip(path, counts):
        raise ZeroDivisionError("of all things\nand more")

    monkeypatch.setattr("mmlib.recordings.layouts.recognised", trip)
    words = "demo.json: cannot be read .ZeroDivisionError: of all things; test_media.py, line"
    with fails(words) as caught:
        build(demo.clip, demo.transcript)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_damaged_clip_is_made_again(tmp_path):
    made.clip(tmp_path, "a", made.voice(1.0))
    build_corpus([tmp_path], out := tmp_path / "out")
    (out / "clips" / "a.safetensors").write_bytes(b"half")
    with fails("missing or damaged"):
        load_clip(out / "clips" / "a.safetensors")
    assert build_corpus([tmp_path], out).empty and len(load(str(out))) == 1


def test_two_recordings_of_one_name_are_both_kept(tmp_path):
    made.clip(tmp_path, "a", made.voice(1.0))
    made.encode(tmp_path / "a.flac", made.voice(1.0, 200))
    build_corpus([tmp_path], out := tmp_path / "out")
    assert set(load(str(out)).groups) == {"a", "a.wav"}


def test_a_recording_named_twice_is_taken_once(tmp_path):
    made.clip(tmp_path, "a", made.voice(1.0))
    paths = [tmp_path / "a.wav", tmp_path, tmp_path / "." / "a.wav"]
    assert build_corpus(paths, tmp_path / "out").empty
    assert load(str(tmp_path / "out")).ids == ("a[0]",)


def test_a_clip_without_a_face_export_is_counted(tmp_path):
    for name in "ab":
        made.clip(tmp_path, name, made.voice(1.0))
    (tmp_path / "faces" / "b.txt").unlink()
    assert build_corpus([tmp_path], tmp_path / "out", faces=tmp_path / "faces").empty
    corpus = load(str(tmp_path / "out"))
    assert corpus.notes == ("clips without a face export: 1",)
    assert corpus.sequences["vision"].lengths.tolist() == [1, 0]


def test_names_in_capitals_as_cameras_and_windows_write_them(tmp_path):
    made.write_wav(tmp_path / "A.WAV", made.voice(1.0))
    (tmp_path / "A.SRT").write_text(f"1\n{CUE_1.replace('02,0', '01,9')}\nGood.\n")
    made.facet(tmp_path / "A.TXT", np.ones((25, 35)))
    reasons = build_corpus([tmp_path], tmp_path / "out", faces=tmp_path)
    assert reasons.empty and load(str(tmp_path / "out")).text == ("Good.",)


def test_a_face_export_is_no_transcript(tmp_path):
    made.write_wav(tmp_path / "a.wav", made.voice(1.0))
    made.facet(tmp_path / "a.txt", np.ones((25, 35)))
    with fails("no transcript named like it"):
        build_corpus([tmp_path], tmp_path / "out", faces=tmp_path)


def test_a_process_that_is_killed_costs_its_own_clip(tmp_path):
    jobs = [Job(f"{i}", tmp_path / f"{i}.wav", None, None) for i in range(8)]
    reasons = attempt_all(made.killed_by_odd_ends, jobs, 2, "clips", hidden=True)
    assert [reasons[job] for job in jobs] == [DIED if i in (3, 7) else "" for i in range(8)]


def test_three_recordings_of_one_name_are_refused(tmp_path):
    paths = [tmp_path / part / "a.wav" for part in "xyz"]
    with fails("would share one name: rename one"):
        build_corpus(paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_do_or_to_keep(tmp_path):
    with fails("no recording in"):
        build_corpus([tmp_path], tmp_path / "out")
    made.clip(tmp_path, "a", made.voice(1.0), "silent")
    with fails("none of 1 clips could be used; the first: .*silent"):
        build_corpus([tmp_path], tmp_path / "out")
    with pytest.raises(OSError, match=r"\A[^\n]*a.wav.* name another folder with --out\Z"):
        build_corpus([tmp_path], tmp_path / "a.wav")


def test_several_speakers_and_missing_transcripts_are_told(tmp_path):
    made.write_wav(tmp_path / "a.wav", made.voice(2.0))
    (tmp_path / "a.txt").write_text("ANNA: One here.\nBEN: Two there.\n")
    made.write_wav(tmp_path / "b.wav", made.voice(1.0))
    skipped = build_corpus([tmp_path], out := tmp_path / "out")
    assert "no transcript named like it" in skipped["reason"][0]
    notes = load(str(out)).notes
    assert "clips with several speakers, who may talk at once: 1" in notes
    assert "utterances with guessed times (txt): 2" in notes


# The command


def test_command_line(tmp_path, built, demo, capsys):
    shutil.copytree(built, out := tmp_path / "o")
    given = [str(demo.clip), "--transcript", str(demo.transcript), "--faces", str(demo.faces)]
    assert main([*given, "--out", str(out)]) == 0
    assert "3 utterances of 1 clips" in capsys.readouterr().out
    made.clip(tmp_path, "bad", made.voice(1.0), "truncated")
    assert main([str(tmp_path / "bad.wav"), "--out", str(out)]) == 1
    assert "skipped: " in capsys.readouterr().err
    assert main([str(tmp_path / "no.wav"), "--out", str(tmp_path / "p")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_still_runs_by_the_name_it_had():
    command = [sys.executable, "-m", "mmlib.media", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "python -m mmlib.recordings" in done.stdout


def test_reading_recordings_needs_neither_torch_nor_a_decoder():
    code = "import sys, mmlib.data; print({'torch', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
