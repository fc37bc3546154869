"""`python -m deixis.cli` is the command `deixis`."""

import sys

from . import main

sys.exit(main())
