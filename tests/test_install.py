"""Does a built wheel carry all that the commands need, and do they work in a folder that is no checkout?"""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import bn_repro
from bn_repro.records import files

ROOT = Path(__file__).parents[1]


def call(*command, cwd, **variables):
    words = [str(word) for word in command]
    finished = subprocess.run(words, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True)
    return finished.returncode, finished.stdout, finished.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build sdist and wheel with what is installed, so without network."""
    folder = tmp_path_factory.mktemp("built")
    code, _, errors = call(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    assert code == 0, errors
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Install the wheel beside the packages that are here, and return how its commands are called in an empty folder."""
    target, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    code, _, errors = call(*pip, "--target", target, wheel, cwd=folder)
    assert code == 0, errors

    def command(*arguments):
        return call(sys.executable, target / "bin" / "bn-repro", *arguments, cwd=folder, PYTHONPATH=str(target))

    return command, target, folder


def test_wheel_and_sdist_carry_configs_and_no_records(built):
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert {f"bn_repro/{name}" for name in configs} <= in_wheel
    assert {"bn_repro/py.typed", "bn_repro/scripts/train.py", "bn_repro/results/rules.json"} <= in_wheel
    assert all(name.startswith(("bn_repro/", f"bn_repro-{bn_repro.__version__}.dist-info/")) for name in in_wheel)
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    assert configs | {"tests/test_install.py", "requirements.lock", "CITATION.cff", "CHANGELOG.md"} <= in_sdist
    assert not any(name.startswith("results/published") for name in in_wheel | in_sdist)


def test_commands_work_outside_of_a_checkout(installed):
    command, target, folder = installed
    assert command("--version") == (0, f"{bn_repro.__version__}\n", "")
    smoke = ("experiment=mnist_sigmoid/smoke", "seed=0", "wandb.mode=disabled", "train.steps=20")
    for norm in ("none", "batch"):
        code, out, errors = command("train", *smoke, f"norm={norm}")
        assert code == 0, errors
        assert f"results/runs/mnist_sigmoid/smoke/{norm}-s0,train.steps=20" in out.replace("\n", "")
    records = sorted((folder / files.RUNS).rglob(files.ENVIRONMENT))
    assert len(records) == 2 and '"commit": null' in records[0].read_text(), "no checkout's commit"
    code, out, errors = command("compare", "mnist_sigmoid")
    assert code == 0, errors
    assert "2 runs by norm" in out and (folder / files.COMPARISON).exists()
    code, out, errors = command("reproduce", "--tier", "smoke", "--dry-run")
    assert code == 0 and "to do" in out, errors
    code, out, errors = command("report", "--tier", "smoke")
    assert code == 0 and (folder / files.REPORTS / "smoke" / files.REPORT_PAGE).exists(), errors
    assert {path.name for path in folder.iterdir()} == {"results"}


def test_a_mistake_in_the_command_names_the_nearest(installed):
    command, *_ = installed
    code, out, errors = command("trian")
    assert code == 2 and errors.startswith("error: trian: no such command; did you mean train?") and errors.count("\n") == 1
    code, out, errors = command("train", "experiment=mnist_sigmoid/smoke", "norm=btach", "seed=0")
    assert code == 2 and "did you mean batch" in errors and errors.count("\n") == 1
    code, out, errors = command()
    assert code == 0 and all(f"\n  {name} " in out for name in ("train", "reproduce", "report", "compare", "fetch-data"))
    assert "publish" not in out


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == bn_repro.__version__
    assert f"\n## {bn_repro.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
