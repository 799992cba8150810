"""python -m mmlib.recordings CLIP --transcript X --faces Y --out FOLDER: recordings to a corpus."""

import argparse
import sys

from mmlib.covarep.work import end_stopped
from mmlib.data import DataError, load
from mmlib.files import data_root, expanded
from mmlib.recordings.audio import SETS
from mmlib.recordings.clip import LEVELS, Options
from mmlib.recordings.decode import Limits
from mmlib.recordings.folder import build_corpus


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="python -m mmlib.recordings", description=__doc__)
    flags.add_argument("clips", nargs="+", help="recordings, or folders with such")
    flags.add_argument("--transcript", help="its txt, srt, vtt or json, or a folder of such")
    flags.add_argument("--faces", help="its face export, or a folder of such")
    flags.add_argument("--out", default=data_root() / "recordings", help="folder of the corpus")
    flags.add_argument("--audio", choices=SETS, default="covarep")
    flags.add_argument("--level", choices=LEVELS, default="utterance", help="what is averaged over")
    rate = "of a face export without times: py-feat's, images"
    flags.add_argument("--frame-rate", "--fps", type=float, help=rate)
    flags.add_argument("--stimulus", help="of an iMotions export with several")
    flags.add_argument("--workers", type=int, default=1, help="processes, one clip each")
    flags.add_argument("--max-hours", type=float, default=Limits.hours, help="of a clip")
    flags.add_argument("--max-gigabytes", type=float, default=Limits.gigabytes, help="of a clip")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: all clips are in the corpus; 1: some were skipped; 2: no corpus was made."""
    given = parser().parse_args(arguments)
    try:
        limits = Limits(given.max_hours, given.max_gigabytes)
        options = Options(given.audio, given.level, given.frame_rate, given.stimulus, limits)
        out = expanded(given.out)
        skipped = build_corpus(
            given.clips, out, given.transcript, given.faces,
            options=options, workers=given.workers, progress=sys.stdout.isatty(),
        )  # fmt: skip
        corpus = load(str(out.resolve()))  # hotel is a folder here, too
    except (DataError, OSError) as error:  # a full disk, too
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        end_stopped("stopped; the same command goes on from here")
    print(f"{len(corpus)} utterances of {corpus.variant} in {out}")
    print(*(f"  {note}" for note in corpus.notes), sep="\n", end="\n" if corpus.notes else "")
    for _, reason in skipped.itertuples(index=False):
        print(f"skipped: {reason}", file=sys.stderr)
    return int(len(skipped) > 0)


if __name__ == "__main__":
    sys.exit(main())
