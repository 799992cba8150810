"""Fault drills over folders of recordings: killed at random moments, full disks, poor machines.

The same command again finishes what a kill left, and the result is that of an undisturbed run.
`make drill` runs the large ones, `make test` a small one of each.
"""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import recordings as made

from mmlib.covarep import CovarepError, extract_files, read_wav
from mmlib.covarep import work as covarep_work
from mmlib.data import load
from mmlib.files import ROOT
from mmlib.recordings import build_corpus, probe
from mmlib.recordings import folder as recordings_folder

COMMANDS = ("covarep", "recordings")
SLOWLY = """
import os, time
replace = os.replace
os.replace = lambda *paths: (replace(*paths), time.sleep(0.3))
"""  # after each file: a run cannot end before it is interrupted


def fill(folder: Path, n: int) -> Path:
    folder.mkdir()
    for i in range(n):
        made.clip(folder, f"clip {i}", made.voice(1.0, 100 + 10 * i))
    return folder


def start(room: str, folder: Path, out: Path, *more: str, before: str = "", **env: str):
    """`python -m mmlib.ROOM FOLDER --out OUT`; before: code that is run first."""
    arguments = [str(folder), "--out", str(out), *more]
    if room == "recordings":
        arguments += ["--faces", str(folder / "faces")]
    code = f"{before}\nimport sys, runpy\nif __name__ == '__main__':\n"
    code += f"    sys.argv = ['x', *{arguments!r}]\n"
    code += f"    runpy.run_module('mmlib.{room}', run_name='__main__')\n"
    program = folder.parent / f"{room}.py"  # a file: worker processes import it
    program.write_text(code)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **env}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, program], stdout=pipe, stderr=pipe, text=True, env=env)


def finish(process: subprocess.Popen, code: int = 0) -> str:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    return errors


def results(out: Path) -> list[Path]:
    return sorted(path for path in out.rglob("*") if path.suffix in (".csv", ".safetensors"))


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in results(out)}


def kill_once(process: subprocess.Popen, out: Path, done: int, pause: float) -> None:
    """Kill a run when so many files are done and a moment has gone; its workers end as well."""
    end = time.monotonic() + 300
    while len(list(out.rglob("clip*"))) < done and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(pause)
    workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def drill(tmp_path, room: str, clips: int, kills: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder = fill(tmp_path / "clips", clips)
    finish(start(room, folder, tmp_path / "undisturbed"))
    out, workers = tmp_path / "out", ("--workers", "2")
    for done in sorted(rng.integers(0, clips, kills)):
        kill_once(start(room, folder, out, *workers), out, int(done), rng.uniform(0, 1))
        for path in results(out):  # each is whole, whatever is missing
            same = tmp_path / "undisturbed" / path.relative_to(out)
            assert path.read_bytes() == same.read_bytes()
    (out / ".utterances.csv.0123abcd.part").write_text("half")
    (out / ".clip 0.csv.0123abcd.part").write_text("half")
    finish(start(room, folder, out, *workers))
    expected = contents(tmp_path / "undisturbed")
    assert contents(out) == expected and len(expected) >= clips
    other = "clip 0.csv" if room == "recordings" else "utterances.csv"  # not of this command
    assert [path.name for path in out.rglob(".*.part")] == [f".{other}.0123abcd.part"]


@pytest.mark.parametrize("room", COMMANDS)
def test_a_killed_run_is_finished_by_the_same_command(tmp_path, room):
    drill(tmp_path, room, clips=4, kills=1, seed=0)


@pytest.mark.parametrize("room", COMMANDS)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_a_run_at_once_in_one_line(tmp_path, room, workers):
    folder, out = fill(tmp_path / "clips", 24), tmp_path / "out"
    process = start(room, folder, out, "--workers", workers, before=SLOWLY)
    while not results(out):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    running = psutil.Process(process.pid)
    for each in [running, *running.children(recursive=True)]:  # a terminal sends it to all
        each.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == -signal.SIGINT, errors  # a shell's loop ends with it
    assert errors.splitlines() == ["stopped; the same command goes on from here"]
    assert 0 < len(results(out)) < 20


@pytest.mark.slow
@pytest.mark.parametrize("room", COMMANDS)
@pytest.mark.parametrize("seed", range(3))
def test_many_kills(tmp_path, room, seed):
    drill(tmp_path, room, clips=12, kills=5, seed=seed)


@pytest.mark.parametrize("room", COMMANDS)
def test_a_full_disk_names_the_file_and_what_to_do(tmp_path, room):
    folder, out = fill(tmp_path / "clips", 2), tmp_path / "out"
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    errors = finish(start(room, folder, out, before=limit), code=1 if room == "covarep" else 2)
    assert "clip 0." in errors and "cannot write" in errors and "free space or choose" in errors
    assert str(out) in errors and "File too large" in errors
    assert len(errors.splitlines()) == (2 if room == "covarep" else 1)
    assert not [path for path in out.rglob("*") if path.is_file() and path.name != "skipped.csv"]
    finish(start(room, folder, out))


@pytest.mark.parametrize("room", COMMANDS)
def test_a_poor_machine(tmp_path, room):
    """No home, no name for the user's number, two levels of OpenMP threads."""
    folder = fill(tmp_path / "clips", 2)
    nobody = "import pwd\ndef nobody(uid): raise KeyError(uid)\npwd.getpwuid = nobody"
    options = {"before": nobody, "OMP_NUM_THREADS": "2,1"}
    assert not finish(start(room, folder, tmp_path / "out", "--workers", "2", **options))


@pytest.mark.parametrize("room", COMMANDS)
@pytest.mark.parametrize("number", [28, 2, 13])
def test_shared_memory_that_is_full_or_missing(tmp_path, room, number):
    folder = fill(tmp_path / "clips", 2)
    full = "import multiprocessing.synchronize as s\ndef full(*a, **k):\n"
    full += f"    import os; raise OSError({number}, os.strerror({number}))\n"
    full += "s.SemLock.__init__ = full"
    process = start(room, folder, tmp_path / "out", "--workers", "2", before=full)
    errors = finish(process, code=2)
    assert "is /dev/shm full or missing?): free it, or use --workers 1" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("room", COMMANDS)
def test_two_runs_on_one_folder_take_turns(tmp_path, room):
    folder, out = fill(tmp_path / "clips", 3), tmp_path / "out"
    for process in [start(room, folder, out) for _ in range(2)]:
        finish(process)
    finish(start(room, folder, tmp_path / "alone"))
    assert contents(out) == contents(tmp_path / "alone")


def test_a_run_waits_for_the_one_before(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        with covarep_work.only_run(tmp_path, []):
            second = pool.submit(extract_files, [fill(tmp_path / "clips", 1)], tmp_path)
            time.sleep(0.5)
            assert not second.done()
        assert second.result().empty


def test_a_process_that_is_killed_is_told_in_one_line(tmp_path, monkeypatch):
    folder = fill(tmp_path / "clips", 1)

    def killed(task, jobs, *_, **__):
        return {job: covarep_work.DIED for job in jobs}

    monkeypatch.setattr("mmlib.covarep.files.attempt_all", killed)
    monkeypatch.setattr(recordings_folder, "attempt_all", killed)
    (row,) = extract_files([folder], tmp_path / "a").itertuples(index=False)
    assert row.path.endswith("clip 0.wav") and row.reason == covarep_work.DIED
    with pytest.raises(ValueError, match=r"\A[^\n]*clip 0.wav: its process was killed[^\n]*\Z"):
        build_corpus([folder], tmp_path / "b")


def test_a_recording_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(CovarepError, match=r"\A[^\n]*a.wav: not a readable WAV file[^\n]*\Z"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("none.wav", None, "No such file or directory[^\n]*correct its name"),
        ("empty.wav", b"", "empty file .0 bytes.; copy it again"),
        ("mp3.wav", b"ID3\x04" + bytes(99), "not a readable WAV file[^\n]*convert it to WAV"),
    ],
)
def test_a_file_without_a_wave_is_named_with_what_helps(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CovarepError, match=rf"\A[^\n]*{name}: [^\n]*{words}[^\n]*\Z"):
        read_wav(tmp_path / name)


def test_a_missing_clip_is_not_told_to_lack_a_transcript(tmp_path):
    with pytest.raises(ValueError, match=r"\A[^\n]*none.wav: no such file[^\n]*\Z"):
        build_corpus([tmp_path / "none.wav"], tmp_path / "out")


def test_a_recording_that_may_not_be_read_is_not_told_to_be_converted(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mmlib.recordings.decode.check_size", forbidden)
    (clip,) = fill(tmp_path / "clips", 1).glob("*.wav")
    with pytest.raises(
        ValueError, match=r"\A[^\n]*clip 0.wav: [^\n]*denied.; correct its rights\Z"
    ):
        probe(clip)


def test_a_copy_of_a_clip_s_file_is_named_and_the_table_is_kept(tmp_path):
    build_corpus([fill(tmp_path / "clips", 1)], out := tmp_path / "out")
    table, clips = (out / "utterances.csv").read_bytes(), out / "clips"
    (clips / "clip 0 (1).safetensors").write_bytes((clips / "clip 0.safetensors").read_bytes())
    with pytest.raises(
        ValueError, match=r"\A[^\n]*0 .1..safetensors: holds the clip 'clip 0'; delete"
    ):
        build_corpus([tmp_path / "clips"], out)
    assert (out / "utterances.csv").read_bytes() == table


def test_a_name_that_is_not_utf_8_is_told_before_anything_is_done(tmp_path):
    folder = fill(tmp_path / "clips", 1)
    (folder / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"no wave")
    with pytest.raises(ValueError, match=r"\A[^\n]*udce9.wav': its name is not UTF-8[^\n]*\Z"):
        build_corpus([folder], tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    (row,) = extract_files([folder], tmp_path / "out").itertuples(index=False)
    assert row.path.endswith(r"caf\udce9.wav") and "convert it to WAV" in row.reason


def test_a_name_with_a_carriage_return_is_told_first(tmp_path):
    folder = fill(tmp_path / "clips", 1)
    (folder / "a\rb.wav").write_bytes(b"no wave")
    with pytest.raises(ValueError, match=r"\A[^\n\r]*b.wav': .* a carriage return; rename it\Z"):
        build_corpus([folder], tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_a_folder_in_a_table_s_place_stops_that_table_alone(tmp_path):
    folder, out = fill(tmp_path / "clips", 2), tmp_path / "out"
    (out / "clip 0.csv").mkdir(parents=True)
    (row,) = extract_files([folder], out, features=["F0", "F0"]).itertuples(index=False)
    assert "clip 0.csv (Is a directory): free space or choose another folder" in row.reason
    assert (out / "clip 1.csv").read_text().startswith("seconds,F0\n")


def test_a_seed_that_no_recording_can_have_is_refused_at_once(tmp_path):
    with pytest.raises(CovarepError, match="seed -1"):
        extract_files([fill(tmp_path / "clips", 1)], tmp_path / "out", seed=-1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("room", COMMANDS)
def test_a_tilde_in_out_is_the_home_folder(tmp_path, room):
    folder = fill(tmp_path / "clips", 1)
    start_there = f"import os; os.chdir({str(tmp_path)!r})"
    finish(start(room, folder, Path("~/made"), before=start_there, HOME=str(tmp_path)))
    assert results(tmp_path / "made")


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_table_whose_clip_is_a_link_to_elsewhere(tmp_path, link):
    build_corpus([fill(tmp_path / "clips", 1)], out := tmp_path / "out")
    inside, outside = out / "clips", tmp_path / "outside"
    outside.mkdir()
    real = (inside / "clip 0.safetensors").rename(outside / "clip 0.safetensors")
    if link == "file":
        (inside / real.name).symlink_to(real)
    else:
        (inside / "deep").symlink_to(outside)
        text = (out / "utterances.csv").read_text()
        (out / "utterances.csv").write_text(text.replace(",clip 0,", ",deep/clip 0,"))
    with pytest.raises(ValueError, match=r"\A[^\n]*lies outside[^\n]*no links in clips/\Z"):
        load(str(out))


def test_a_folder_of_clips_may_be_a_link(tmp_path):
    build_corpus([fill(tmp_path / "clips", 1)], out := tmp_path / "out")
    (out / "clips").rename(tmp_path / "elsewhere")
    (out / "clips").symlink_to(tmp_path / "elsewhere")
    assert len(load(str(out))) == 1
