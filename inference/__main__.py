"""``python -m inference``: see :mod:`inference.command_line`.

The first case's graphs are on their way before the rest of the program is imported.
"""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # what imports make stays: no garbage is looked for until they are done
    from inference.head_start import begin

    begin(sys.argv[1:])
    from inference.command_line import leave, main

    leave(main())
