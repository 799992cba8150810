"""One BLAS thread while features are computed.

The matrix products are small. Several threads are no faster, because they wait for one another, and
cost twice the processor time, or more where other work fills the cores.
"""

from contextlib import ContextDecorator
from threading import Lock

from threadpoolctl import ThreadpoolController


class OneBlasThread(ContextDecorator):
    """A BLAS limit that all threads share: the first to enter sets it, the last to leave undoes it.

    BLAS has one number of threads a process. With a limit of its own, each thread would undo it
    while another still computes, and the last one would restore the limit of the first.
    """

    def __init__(self) -> None:
        self.lock, self.users = Lock(), 0
        self.controller = self.limit = None

    def __enter__(self) -> None:
        with self.lock:
            if self.controller is None:  # milliseconds: it searches the loaded libraries
                self.controller = ThreadpoolController()
            if self.limit is None:
                self.any_thread_may_set()
                self.limit = self.controller.limit(limits=1, user_api="blas")
                self.any_thread_may_set()
            self.users += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if not self.users:
                self.any_thread_may_set()
                self.limit.restore_original_limits()
                self.any_thread_may_set()
                self.limit = None

    def any_thread_may_set(self) -> None:
        """Let whichever thread comes next set the limit.

        threadpoolctl 3.8 obeys only the Python thread that set it first, which may not be this one.
        """
        for library in self.controller.lib_controllers:
            if hasattr(library, "clear_controlling_thread"):  # OpenBLAS, from 3.8 on
                library.clear_controlling_thread(force=True)


one_blas_thread = OneBlasThread()
