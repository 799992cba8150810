"""python -m mmlib.covarep RECORDINGS --out FOLDER: COVAREP features of WAV files and folders."""

import argparse
import sys

from mmlib.covarep.conventions import CovarepError
from mmlib.covarep.files import extract_files


def main(arguments: list[str] | None = None) -> int:
    """0: every recording has its features; 1: some failed; 2: nothing was done."""
    parser = argparse.ArgumentParser(prog="python -m mmlib.covarep", description=__doc__)
    parser.add_argument("recordings", nargs="+", help="WAV files, or folders with such")
    parser.add_argument("--out", required=True, help="folder for the .csv files")
    parser.add_argument("--workers", type=int, default=1, help="processes, one file each")
    parser.add_argument("--features", nargs="+", help="names of columns; default: all 74")
    parser.add_argument("--seed", type=int, default=0, help="of the random phases near Nyquist")
    given = parser.parse_args(arguments)
    try:
        failed = extract_files(
            given.recordings, given.out, given.workers, given.features, given.seed
        )
    except (CovarepError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for path, reason in failed.itertuples(index=False):
        print(f"{path}: {reason}", file=sys.stderr)
    return int(len(failed) > 0)


if __name__ == "__main__":
    sys.exit(main())
