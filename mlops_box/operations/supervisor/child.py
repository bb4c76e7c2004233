"""Become a program that does not outlive its supervisor: ``python -I -S child.py PARENT_PID PROGRAM ARGUMENT...``.

The kernel sends SIGTERM when the parent is gone, even after kill -9. Done here, in a fresh process and before
``exec``, because code between fork and exec of a process with threads can deadlock. The signal follows the death of
the *thread* that started this process: the supervisor starts everything from its main thread.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        # It may have died before the line above.
        if os.getppid() != parent:
            sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
