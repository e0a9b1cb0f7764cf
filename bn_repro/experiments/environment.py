"""What made a run: versions, commit, hardware."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from bn_repro.records.files import SHIPPED

PACKAGES = ("bn_repro", "torch", "numpy", "hydra-core", "timm", "wandb", "tokenizers", "scikit-learn", "ale-py")


def available_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        ValueError: this machine has none.
    """
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name}: this machine has no such device; cpu is always there")
    return device


def environment(device: torch.device) -> dict[str, Any]:
    """Describe versions, commit and hardware."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        "packages": versions,
        "commit": git("rev-parse", "HEAD"),
        "is_modified": bool(git("status", "--porcelain", "--untracked-files=no")),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "accelerator": accelerator,
    }


def git(*arguments: str) -> str | None:
    """Return what git says of the code that runs, or None if it is no checkout; a repository that it is installed in is another's."""
    if not (SHIPPED / ".git").exists():
        return None
    answer = subprocess.run(["git", *arguments], cwd=SHIPPED, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def processor() -> str:
    if sys.platform == "linux":
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        return names[0] if names else platform.processor()
    return platform.processor()
