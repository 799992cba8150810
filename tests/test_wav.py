"""WAV files as programs write them: cut off, streamed, of every width; both readers agree."""

import json

import numpy as np
import pytest
import recordings as made

from mmlib.covarep import CovarepError, extract, extract_files, read_wav
from mmlib.data import DataError
from mmlib.recordings import build
from mmlib.recordings.decode import RATE, load, probe

WAVE = made.voice(1.0)
LIST = b"LIST\x1a\x00\x00\x00INFOISFT\x0e\x00\x00\x00Lavf61.1.100\x00\x00"
NO_LENGTH = 0xFFFFFFFF


def covarep_reads(path):
    """The samples as float64 of full scale 1."""
    wave, rate = read_wav(path)
    assert rate == RATE
    if wave.dtype.kind in "iu":
        wave = wave / 2.0 ** (8 * wave.dtype.itemsize - 1) - (wave.dtype.kind == "u")
    return wave


@pytest.mark.parametrize(
    "kind, off",
    [("<u1", 2e-2), ("<i2", 1e-4), ("<i3", 1e-6), ("<i4", 1e-8), ("<f4", 1e-7), ("<f8", 1e-12)],
)
@pytest.mark.parametrize("extensible", [False, True])
def test_every_width(tmp_path, kind, off, extensible):
    path = tmp_path / "a.wav"
    path.write_bytes(made.chunks(WAVE, kind, extensible=extensible))
    assert np.abs(covarep_reads(path) - WAVE).max() < off
    assert np.abs(load(path) - WAVE).max() < max(off, 1e-7)
    assert probe(path).seconds == 1


@pytest.mark.parametrize(
    "form",
    [
        {"riff": NO_LENGTH, "data": NO_LENGTH, "between": LIST},  # ffmpeg into a pipe
        {"riff": 0x7FFFF024, "data": 0x7FFFF000},  # sox into a pipe
        {"riff": 0x7FFFFFFF, "data": 0x7FFFFFFF - 36},  # arecord
        {"riff": 0, "data": 0},
        {"riff": 36, "data": 0},  # killed before the lengths were written
        {"riff": NO_LENGTH, "data": 0},
        {"riff": 0},
        {"riff": 2 * RATE + 37},  # counts a pad byte that is not there
        {"after": LIST},
        {"between": b"note\x03\x00\x00\x00abc\x00"},  # of odd length
        {"kind": ">i2", "magic": b"RIFX"},
        {"kind": ">i2", "magic": b"RIFX", "riff": NO_LENGTH, "data": NO_LENGTH},
        {"magic": b"RF64", "riff": NO_LENGTH, "data": NO_LENGTH, "ds64": 2 * RATE},
        {"magic": b"RF64", "riff": NO_LENGTH, "data": NO_LENGTH, "ds64": 0},  # streamed, too
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 2])
def test_lengths_that_are_legal_or_usual_are_read_whole(tmp_path, form, channels):
    wave = WAVE if channels == 1 else np.stack([WAVE, WAVE], axis=1)
    path, form = tmp_path / "a.wav", dict(form)
    content = made.chunks(wave, **{k: v for k, v in form.items() if k != "ds64"})
    if "ds64" in form:
        total = channels * form["ds64"]
        sizes = b"".join(n.to_bytes(8, "little") for n in (total and total + 80, total, 0))
        content = content[:12] + b"ds64\x1c\x00\x00\x00" + sizes + bytes(4) + content[12:]
    path.write_bytes(content)
    samples = covarep_reads(path)
    assert len(samples) == RATE and np.abs(samples.T - WAVE).max() < 1e-4
    if form.get("magic") == b"RIFX" or form.get("ds64") == 0:  # FFmpeg misreads them
        for read in (load, probe):
            with pytest.raises(DataError, match=r"\A[^\n]*of the kind R...; convert it[^\n]*\Z"):
                read(path)
        return
    assert np.abs(load(path) - WAVE).max() < 1e-4
    assert probe(path).seconds == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "content, words",
    [
        (made.chunks(WAVE)[:-RATE], "truncated, 0.50 of 1.00 s are there: copy it again, or keep"),
        (made.chunks(WAVE, "<f4")[: -3 * RATE], "truncated, 0.25 of 1.00 s are there"),
        (made.chunks(WAVE, extensible=True)[:-2], "truncated, 1.00 of 1.00 s are there"),
        (made.chunks(WAVE, riff=NO_LENGTH)[:-RATE], "truncated, 0.50 of 1.00 s"),
        (made.chunks(WAVE)[:44], "truncated, 0.00 of 1.00 s"),
        (made.chunks(WAVE)[:36], "no usable data chunk"),
        (made.chunks(WAVE)[:12] + made.chunks(WAVE)[36:], "no usable fmt chunk"),
        (made.chunks(WAVE[:0]), "no samples in it"),
        (made.chunks(WAVE[:0], after=LIST), "no samples in it"),
        (made.chunks(WAVE[:0], riff=NO_LENGTH, data=NO_LENGTH), "no samples in it"),
    ],
)
def test_what_is_cut_off_or_empty_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    for read, error in ((read_wav, CovarepError), (probe, DataError), (load, DataError)):
        with pytest.raises(error, match=rf"\A[^\n]*a\.wav: {words}[^\n]*\Z"):
            read(path)


def test_what_a_cut_off_file_holds_can_be_kept_by_its_remedy(tmp_path):
    """`ffmpeg -c copy`, as its libraries do it."""
    import av

    path = tmp_path / "a.wav"
    path.write_bytes(made.chunks(WAVE)[:-RATE])
    with av.open(str(path)) as old, av.open(str(tmp_path / "b.wav"), "w") as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(old.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    assert len(read_wav(tmp_path / "b.wav")[0]) == RATE // 2


def test_a_cut_off_file_is_named_in_a_folders_list(tmp_path):
    (tmp_path / "a.wav").write_bytes(made.chunks(WAVE)[:-RATE])
    failed = extract_files([tmp_path], tmp_path / "out", features=["F0"])
    assert failed["reason"][0].startswith("truncated, 0.50 of 1.00 s are there")
    assert not list((tmp_path / "out").iterdir())


def test_a_file_of_over_4_gb_whose_length_overflowed(tmp_path, monkeypatch):
    from mmlib.covarep import recording

    path = tmp_path / "a.wav"
    path.write_bytes(made.chunks(WAVE, data=8))
    monkeypatch.setattr(recording, "OVERFLOW", 2 * RATE - 8)
    assert len(read_wav(path)[0]) == RATE
    with pytest.raises(DataError, match=r"\A[^\n]*truncated[^\n]*\Z"):
        load(path)  # FFmpeg takes the length that is written


def test_a_silent_first_channel_is_named(tmp_path):
    for quiet in (0 * WAVE, 1e-3 * WAVE):
        with pytest.raises(
            CovarepError, match=r"\Achannel 1 of 2, .* silent: give channel 2 alone"
        ):
            extract(np.stack([quiet, WAVE], axis=1), RATE, ["F0"])
    both = extract(np.stack([WAVE, 0 * WAVE], axis=1), RATE, ["F0"])
    assert both.equals(extract(WAVE, RATE, ["F0"]))
    with pytest.raises(CovarepError, match=r"\Athe recording is constant"):
        extract(np.stack([0 * WAVE, 0 * WAVE], axis=1), RATE)


def test_names_in_a_file_may_be_of_any_encoding(tmp_path):
    name = "Käse".encode("latin-1")
    facts = b"INFOIART" + len(name).to_bytes(4, "little") + name
    content = made.chunks(WAVE, between=b"LIST" + len(facts).to_bytes(4, "little") + facts)
    (tmp_path / "a.wav").write_bytes(content)
    assert len(load(tmp_path / "a.wav")) == len(covarep_reads(tmp_path / "a.wav")) == RATE


def test_a_stream_makes_a_clip(tmp_path):
    (tmp_path / "a.wav").write_bytes(made.chunks(WAVE, riff=0x7FFFF024, data=0x7FFFF000))
    (tmp_path / "a.json").write_text(
        json.dumps({"segments": [{"start": 0, "end": 1, "text": "All of it."}]})
    )
    clip = build(tmp_path / "a.wav", tmp_path / "a.json")
    assert clip.seconds == 1 and clip.sequences["audio"].lengths.tolist() == [1]
