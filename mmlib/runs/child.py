"""An IPython kernel that dies with its parent: `python -m mmlib.runs.child PARENT_PID -f FILE`.

Killed workers cannot shut their kernels down. Linux does it for them; elsewhere ipykernel itself
looks once a second whether its parent is there.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


if __name__ == "__main__":
    main()
