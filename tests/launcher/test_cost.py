"""Is the projected cost that of Figure 5, and is a missing folder told in one line?"""

import subprocess
import sys

import pytest
import torch

from bn_repro.launcher.cost import multiply_adds, projected_cost
from bn_repro.launcher.grids import CONFIGS, configs_of


def reproduce(*arguments):
    command = [sys.executable, "scripts/reproduce.py", "--tier", "imagenet", *arguments]
    return subprocess.run(command, cwd=CONFIGS.parent, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def config():
    return next(config for config in configs_of("inception/imagenet") if config.arm == "bn_x30")


def test_multiply_adds_are_those_of_figure_5(config):
    assert round(multiply_adds(config) / 1e6) == 1949


def test_cost_by_hand(config):
    lines = projected_cost([config, config], images_per_second=1000)
    assert lines[0].startswith("bn_x30: 1,949 M multiply-adds; 992,000,000 images, 1.16e+19 FLOPs, 276 hours")
    assert lines[2] == "together: 1,984,000,000 images, 2.32e+19 FLOPs, 551 hours"
    assert "hours unknown; give --images-per-second X" in projected_cost([config], None)[-1]


def test_a_missing_device_or_folder_is_one_line():
    if (CONFIGS.parent / "data" / "imagenet").exists():
        pytest.skip("ImageNet is here")
    answer = reproduce()
    code, words = (1, "data/imagenet/train/<class>/<image>.JPEG") if torch.cuda.is_available() else (2, "has no such device")
    assert answer.returncode == code and len(answer.stderr.splitlines()) == 1 and words in answer.stderr


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", "inf"])
def test_a_speed_is_a_number_above_0(speed):
    answer = reproduce("--dry-run", f"--images-per-second={speed}")
    assert answer.returncode == 2 and f"{speed} is not a speed" in answer.stderr
