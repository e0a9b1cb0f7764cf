"""Does importing the networks tell timm of them, whenever timm is imported, without importing it?"""

import importlib
import subprocess
import sys

import pytest
import timm

import bn_repro.networks  # noqa: F401
from bn_repro.networks import registering


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Put a package in the place of timm and a module in that of the networks it registers, both of which note their import."""
    (tmp_path / "made_up_timm").mkdir()
    (tmp_path / "made_up_timm" / "__init__.py").write_text("imported = []\nfrom made_up_timm import models\nis_whole = True\n")
    (tmp_path / "made_up_timm" / "models.py").write_text("")
    (tmp_path / "made_up_networks.py").write_text("import made_up_timm\nmade_up_timm.imported.append(made_up_timm.is_whole)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registering, "TIMM", "made_up_timm")
    monkeypatch.setattr(registering, "REGISTERED", "made_up_networks")
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if not isinstance(finder, registering.AfterTimm)])
    yield
    for name in ("made_up_timm", "made_up_timm.models", "made_up_networks"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("first", ["timm", "networks", "networks_twice", "submodule"])
def test_in_either_order(made_up, first):
    if first == "timm":
        importlib.import_module("made_up_timm")
    registering.register_with_timm()
    if first == "networks_twice":
        registering.register_with_timm()
    if first != "timm":
        assert "made_up_timm" not in sys.modules and "made_up_networks" not in sys.modules
    importlib.import_module("made_up_timm.models" if first == "submodule" else "made_up_timm")
    assert sys.modules["made_up_timm"].imported == [True]
    assert not any(isinstance(finder, registering.AfterTimm) for finder in sys.meta_path)


def test_a_missing_timm_is_missing_as_ever(made_up, monkeypatch):
    monkeypatch.setattr(registering, "TIMM", "made_up_nothing")
    registering.register_with_timm()
    with pytest.raises(ModuleNotFoundError, match="made_up_nothing"):
        importlib.import_module("made_up_nothing")


def test_timm_knows_the_networks():
    assert timm.is_model("bn_inception") and "inception_no_bn" in timm.list_models("*inception*")


def test_importing_the_networks_does_not_import_timm():
    code = "import sys, bn_repro.networks; print(bool({'timm', 'torchvision', 'wandb'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
