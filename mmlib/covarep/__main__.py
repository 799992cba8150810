"""python -m mmlib.covarep RECORDINGS --out FOLDER: COVAREP features of WAV files and folders.

python -m mmlib.covarep --agreement FOLDER: a table of how closely they agree with the output of the
original program, which is in .csv files beside the .wav files (`tests/agreement.py`).
"""

import argparse
import subprocess
import sys
from pathlib import Path

from mmlib.covarep.conventions import CovarepError
from mmlib.covarep.files import extract_files
from mmlib.covarep.work import end_stopped


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: every recording has its features; 1: some failed; 2: nothing was done."""
    parser = argparse.ArgumentParser(prog="python -m mmlib.covarep", description=__doc__)
    parser.add_argument("recordings", nargs="*", help="WAV files, or folders with such")
    parser.add_argument("--out", help="folder for the .csv files")
    parser.add_argument("--agreement", metavar="FOLDER", help="compare with the original's output")
    parser.add_argument("--workers", type=int, default=1, help="processes, one file each")
    parser.add_argument("--features", nargs="+", help="names of columns; default: all 74")
    parser.add_argument("--seed", type=int, default=0, help="of the random phases near Nyquist")
    given = parser.parse_args(arguments)
    if given.agreement:
        script = Path(__file__).parents[2] / "tests" / "agreement.py"
        if not script.exists():
            parser.error(f"--agreement needs {script}: run it in a checkout of the project")
        return subprocess.run([sys.executable, script, given.agreement]).returncode
    if not (given.recordings and given.out):
        parser.error("give RECORDINGS and --out FOLDER, or --agreement FOLDER")
    try:
        failed = extract_files(
            given.recordings, given.out, given.workers, given.features, given.seed
        )
    except (CovarepError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        end_stopped("stopped; the same command goes on from here")
    for path, reason in failed.itertuples(index=False):
        print(f"{path}: {reason}", file=sys.stderr)
    return int(len(failed) > 0)


if __name__ == "__main__":
    sys.exit(main())
