"""``python -m inference``: see :mod:`inference.command_line`.

The first case's graphs are on their way before the rest of the program is imported.
"""

import gc
import os
import sys
from importlib import import_module

if __name__ == "__main__":
    # numpy's own threads wait for work by spinning, on the engine's cores; its products are small.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # what imports make stays: no garbage is looked for until they are done
    from inference.head_start import begin
    from inference.memory import keep_memory

    keep_memory()
    begin(sys.argv[1:])
    if sys.version_info < (3, 12):  # from then on datetime is no more than this, too
        # numpy asks for it, and its half in Python takes 5 ms
        sys.modules.setdefault("datetime", import_module("_datetime"))
    from inference.command_line import main
    from inference.ending import Stopped, leave, stop_by_sigterm

    held: list[object] = []  # else the engine would be taken apart when all is written
    try:
        stop_by_sigterm()
        leave(main(held=held))
    except Stopped as stopped:
        leave(stopped.status)
