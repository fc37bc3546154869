"""`python -m deixis.cli` is the command `deixis`."""

import sys

from . import main

if __name__ == "__main__":  # not where a process that was started by this one imports it
    sys.exit(main())
