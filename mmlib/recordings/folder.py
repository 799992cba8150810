"""Many recordings to one corpus folder: parallel, resumable, skipped clips listed."""

import glob
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mmlib.covarep.work import DIED, attempt_all, files_below, only_run, several
from mmlib.data import DataError, load
from mmlib.data.readers.recordings import FILES, load_clip, place, save_clip, write_table
from mmlib.files import sha256, write_whole
from mmlib.recordings.clip import Options, build, fingerprint
from mmlib.recordings.faces import is_export
from mmlib.recordings.transcript import SUFFIXES as TRANSCRIPTS
from mmlib.scores.passport import passport

MEDIA = (
    *(".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aiff"),
    *(".mp4", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".mpg"),
)
RARER = (  # left out if one of MEDIA has the same name: it is a camera's original, say
    *(".oga", ".m4b", ".aif", ".aifc", ".caf", ".w64", ".amr", ".mka", ".wma"),
    *(".m4v", ".asf", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp", ".3g2"),
)
EXPORTS = (".csv", ".txt", ".tsv")
TAGGED = re.compile(r"\.[a-z]{2,3}(-\w+)?\.(json|vtt|srt|txt)$", re.IGNORECASE)  # a language
REMEDY = (
    f"({', '.join(TRANSCRIPTS)}); write one, or run a speech recogniser, e.g. whisper "
    "--word_timestamps True --output_format json"
)
PASSPORT, SKIPPED = "passport.json", "skipped.csv"
LONGEST = 220  # bytes of a name, so that the unfinished file of its features has at most 255


class Job(NamedTuple):
    """One clip and the files that belong to it."""

    name: str
    media: Path
    transcript: Path | None
    faces: Path | None
    faceless: bool = False  # whether --faces was given, but has none for this clip
    reason: str = f"no transcript named like it, or several languages {REMEDY}"  # of none


def build_corpus(
    clips: Path | str | Sequence[Path | str],
    out: Path | str,
    transcripts: Path | str | None = None,
    faces: Path | str | None = None,
    *,
    options: Options | None = None,
    workers: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Write features of recordings, and of those in folders, as a corpus for `mmlib.data.load`.

    transcripts, faces: a file for a single clip, or a folder with files named like the clips
    (transcripts: by default beside them). workers: processes, one core each. Writes
    `utterances.csv`, `passport.json`, `skipped.csv` and `clips/` into `out`. Returns one row per
    skipped clip: clip and reason. Clips of the same files and settings that are there already are
    kept, so an interrupted run continues; a second run on the same folder waits for the first.
    DataError for no recording, none that can be used, or two of one name; OSError, one line, for a
    full disk, or if no process can be started.
    """
    if workers < 1:
        raise DataError(f"{workers} workers; give 1 or more")
    out, options = Path(out), options or Options()
    jobs = _jobs(clips := several(clips), transcripts, faces)
    if not jobs:
        raise DataError(f"no recording in {', '.join(map(str, clips))}; known: {' '.join(MEDIA)}")
    tables = [out / name for name in (*FILES, PASSPORT, SKIPPED)]
    with only_run(out, [*tables, *(place(out, job.name) for job in jobs)]):
        skipped = _skipped(jobs, out, options, workers, progress)
        write_whole(out / SKIPPED, skipped.to_csv(index=False))
        if not any((out / "clips").rglob("*.safetensors")):
            first = skipped["reason"].iloc[0]
            raise DataError(f"none of {len(jobs)} clips could be used; the first: {first}")
        write_table(out)
        passport(load(str(out.resolve()))).save(out / PASSPORT)
    return skipped


def _skipped(
    jobs: list[Job], out: Path, options: Options, workers: int, progress: bool
) -> pd.DataFrame:
    """Clip and reason of each skipped clip; the bar counts clips, or utterances of one clip."""
    alone = len(jobs) == 1
    task = partial(attempt, out=out, options=options, progress=progress and alone and workers == 1)
    reasons = attempt_all(task, jobs, workers, "clips", hidden=alone or not progress)
    named = {job: reasons[job].replace(DIED, f"{job.media}: {DIED}") for job in jobs}
    rows = [(str(job.media), reason) for job, reason in named.items() if reason]
    return pd.DataFrame(rows, columns=["clip", "reason"])


def attempt(job: Job, out: Path, options: Options, progress: bool = False) -> str:
    """Make one clip: "", or why it was skipped, so that the others are still made."""
    target = place(out, job.name)
    try:
        if len(Path(job.name).name.encode()) > LONGEST:
            raise DataError(f"{job.media}: its name has over {LONGEST} bytes; shorten it")
        if not _done(job, old := _origin(target), options):
            _check_same(job, target, old)
            target.unlink(missing_ok=True)  # it was made from other files or settings
            if job.transcript is None and job.media.is_file():
                raise DataError(f"{job.media}: {job.reason}")
            clip = build(job.media, job.transcript, job.faces, job.name, options, progress)
            lost = Counter({"clips without a face export": job.faceless})
            save_clip(replace(clip, counts=+(lost + Counter(clip.counts))), out)
    except (DataError, OSError) as error:  # a full disk, too
        return str(error)
    return ""


def _jobs(clips: list[Path], transcripts: Path | str | None, faces: Path | str | None) -> list[Job]:
    """The recordings, each once, and their files; the second of a.wav, a.mp4 keeps its suffix."""
    jobs: dict[str, Job] = {}
    for given in filter(None, (transcripts, faces)):
        if not Path(given).exists():
            raise DataError(f"{given}: no such file or folder; correct its name")
    found = list(files_below(clips, (*MEDIA, *RARER)))
    for media, inner in sorted(found, key=lambda file: file[0].suffix.lower() in RARER):
        named = str(media)
        if "\r" in named or named != named.encode(errors="replace").decode():
            words = "its name is not UTF-8, or has a carriage return; rename it"
            raise DataError(f"{named!a}: {words}")
        name = str(inner.with_suffix(""))
        earlier = jobs[name].media if name in jobs else media
        is_twin = media.suffix.lower() in RARER and earlier.suffix.lower() in MEDIA
        if is_twin and earlier.with_suffix("") == media.with_suffix("") and media not in clips:
            continue
        name = name if name not in jobs else str(inner)  # a.wav beside a.mp4
        if name in jobs:
            raise DataError(f"{jobs[name].media} and {media} would share one name: rename one")
        if jobs and any(given and Path(given).is_file() for given in (transcripts, faces)):
            raise DataError("one transcript or face file for several recordings; name its folder")
        texts = Path(transcripts or media.parent)
        texts = texts.parent if texts.is_file() else texts
        export = faces and _beside(media, inner, faces, EXPORTS, texts)
        near = inner if transcripts else Path(media.name)
        transcript = _beside(media, near, transcripts or media.parent, TRANSCRIPTS)
        transcript = None if transcript == export else transcript  # a .txt may be either
        jobs[name] = Job(name, media, transcript, export, bool(faces and not export))
    return _unshared(jobs.values())


def _unshared(jobs: Iterable[Job]) -> list[Job]:
    """The jobs; one whose transcript or face export is that of an earlier one loses both."""
    users: dict[Path, Path] = {}
    own = []
    for job in jobs:
        for file in filter(None, (job.transcript, job.faces)):
            other = users.setdefault(file, job.media)
            if other.with_suffix("") != job.media.with_suffix(""):  # a.wav, a.mp4 share theirs
                why = f"{file} is of {other}, too; put such files in folders like the recordings'"
                job = job._replace(transcript=None, faces=None, reason=why)
        own.append(job)
    return own


def _beside(
    media: Path, inner: Path, where: Path | str, suffixes: Sequence[str], also: Path | None = None
) -> Path | None:
    """The file `where`, or in the folder `where` the one named like the recording, if any.

    A transcript may also be named by its language, clip.en.vtt, if it is the only one. also: the
    place of transcripts; what lies there as text is a face export only if it reads like one.
    """
    where = Path(where)
    if not where.is_dir():
        return where
    paths = [where / inner, where / inner.name]
    endings = [ending for suffix in suffixes for ending in (suffix, suffix.upper())]
    named = (path.with_suffix(ending) for path in paths for ending in endings)
    for path in named:
        if path.is_file() and path != media:
            is_there = also and also.exists()
            is_there = is_there and (also.samefile(where) or also.samefile(path.parent))
            if not is_there or path.suffix.lower() == ".csv" or is_export(path):
                return path
    tagged = {p for path in paths for p in path.parent.glob(f"{glob.escape(path.stem)}.*")}
    tagged = [p for p in tagged if suffixes is TRANSCRIPTS and TAGGED.search(p.name)]
    tagged = [p for p in tagged if not _is_of_another(p, media.parent)]
    return tagged[0] if len(tagged) == 1 else None


def _is_of_another(tagged: Path, folder: Path) -> bool:
    """Whether talk.cut.vtt is of talk.cut.wav, so "cut" is no language."""
    named = (place / f"{tagged.stem}{end}" for place in {tagged.parent, folder}
             for one in (*MEDIA, *RARER) for end in (one, one.upper()))  # fmt: skip
    return any(map(Path.is_file, named))


def _origin(target: Path) -> Mapping[str, object]:
    """What a clip was made from; empty if it is missing or damaged."""
    with suppress(DataError, OSError):
        return load_clip(target).origin
    return {}


def _check_same(job: Job, target: Path, old: Mapping[str, object]) -> None:
    """DataError if `target` is of another recording: neither sound nor transcript is the same."""
    files, is_other = {"media": job.media, "transcript": job.transcript}, False
    with suppress(OSError):  # a missing file
        is_other = all(not path or old.get(x) != sha256(path) for x, path in files.items())
    if old and is_other:
        raise DataError(
            f"{job.media}: {target} is of another recording; rename one of the two, or delete that "
            "file if it is the same one, made anew"
        )


def _done(job: Job, old: Mapping[str, object], options: Options) -> bool:
    """Whether a clip of that origin was made from the same files and settings."""
    files = {"media": job.media, "transcript": job.transcript, "faces": job.faces}
    with suppress(OSError):  # a missing file
        return bool(job.transcript) and old == fingerprint(files, options)
    return False
