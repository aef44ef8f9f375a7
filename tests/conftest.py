"""Before anything imports torch: where there is no GPU, Triton's kernels are interpreted on the CPU."""

import os
from pathlib import Path

if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"
