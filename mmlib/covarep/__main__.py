"""python -m mmlib.covarep RECORDINGS --out FOLDER: COVAREP features of WAV files and folders.

python -m mmlib.covarep --agreement FOLDER: how near they are to the original's own output, .csv
files beside the .wav files, as a table.
"""

import argparse
import sys

from mmlib.covarep import agreement
from mmlib.covarep.conventions import CovarepError
from mmlib.covarep.files import extract_files


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mmlib.covarep", description=__doc__)
    parser.add_argument("recordings", nargs="*", help="WAV files, or folders with such")
    parser.add_argument("--out", help="folder for the .csv files")
    parser.add_argument("--agreement", metavar="FOLDER", help="compare with the original's output")
    parser.add_argument("--workers", type=int, default=1, help="processes, one file each")
    parser.add_argument("--features", nargs="+", help="names of columns; default: all 74")
    parser.add_argument("--seed", type=int, default=0, help="of the random phases near Nyquist")
    options = parser.parse_args()
    if not options.agreement and not (options.recordings and options.out):
        parser.error("give RECORDINGS and --out FOLDER, or --agreement FOLDER")
    try:
        if options.agreement:
            found = agreement.compare(agreement.pairs(options.agreement))
            print(agreement.markdown(agreement.table(found)))
            return 0
        failed = extract_files(
            options.recordings, options.out, options.workers, options.features, options.seed
        )
    except CovarepError as error:
        print(error, file=sys.stderr)
        return 2
    for path, reason in failed.itertuples(index=False):
        print(f"{path}: {reason}", file=sys.stderr)
    return int(len(failed) > 0)


if __name__ == "__main__":
    sys.exit(main())
