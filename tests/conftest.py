"""Before anything imports torch: where there is no GPU, Triton's kernels are interpreted on the CPU."""

import os
from pathlib import Path

DEVICES = ("/dev/nvidiactl", "/dev/dxg")  # of Linux, and of Linux in Windows

if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not any(Path(device).exists() for device in DEVICES):
    os.environ["TRITON_INTERPRET"] = "1"
