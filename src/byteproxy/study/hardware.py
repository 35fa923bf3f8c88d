"""Describe the machine that figures were measured on."""

import platform
from pathlib import Path
from typing import Any

import torch


def machine(dtype: str) -> dict[str, Any]:
    """The processor and the versions that matter; dtype: of activations and matrix products."""
    return {
        "processor": _processor(),
        "cores": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dtype": dtype,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
