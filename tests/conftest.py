"""What every test may rely on."""

import os

os.environ["ACCELERATE_USE_CPU"] = "true"  # weights are compared bit by bit, and two processes share no GPU
