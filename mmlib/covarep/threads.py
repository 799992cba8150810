"""One BLAS thread while features are computed.

The products are small: several threads wait for one another, cost twice the processor time and
more where other work fills the cores, and are no faster.
"""

from contextlib import ContextDecorator
from threading import Lock

from threadpoolctl import ThreadpoolController


class OneBlasThread(ContextDecorator):
    """A limit for the process that threads share: the first one in sets it, the last out undoes it.

    BLAS counts its threads once a process, so a limit of each thread's own would be undone while
    another still computes, and the last one would restore the limit of the first.
    """

    def __init__(self) -> None:
        self.lock, self.users = Lock(), 0
        self.controller = self.limit = None

    def __enter__(self) -> None:
        with self.lock:
            if self.controller is None:  # milliseconds: it searches the libraries that are loaded
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
        """threadpoolctl 3.8 ignores all Python threads but the first that set a number.

        The one that comes in first need not be that one, nor the one that goes out last.
        """
        for library in self.controller.lib_controllers:
            if hasattr(library, "clear_controlling_thread"):  # OpenBLAS, from 3.8 on
                library.clear_controlling_thread(force=True)


one_blas_thread = OneBlasThread()
