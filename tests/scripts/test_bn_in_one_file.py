"""Does the one file, which shares no line with the package, train to the same numbers?"""

import ast
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from composed import smoke

from bn_repro.data.images import Batches, load_images
from bn_repro.experiments.supervised import run
from bn_repro.records.record import Run, run_folder

PATH = Path(__file__).parents[2] / "scripts" / "bn_in_one_file.py"
spec = importlib.util.spec_from_file_location("bn_in_one_file", PATH)
one_file = importlib.util.module_from_spec(spec)
spec.loader.exec_module(one_file)


def test_it_is_short_and_needs_torch_and_torchvision_alone():
    source = PATH.read_text()
    assert len(source.splitlines()) <= 150
    imported = {node.names[0].name if isinstance(node, ast.Import) else node.module for node in ast.walk(ast.parse(source))
                if isinstance(node, (ast.Import, ast.ImportFrom))}  # fmt: skip
    foreign = {name.split(".")[0] for name in imported} - {"argparse", "collections", "copy", "pathlib"}
    assert foreign == {"torch", "torchvision"}


@pytest.mark.parametrize("norm, lr", [("none", 0.5), ("batch", 0.02)])  # at which made-up images are not learnt at once
def test_same_batches_make_the_same_numbers_as_the_package(norm, lr, tmp_path, restored_torch_settings):
    config = smoke(f"norm={norm}", f"results_folder={tmp_path}", "network.init_std=0.1", f"train.lr={lr}")
    summary, record = run(config), Run(run_folder(config))
    training, test = load_images(config.data, torch.device("cpu"))
    (x, y), (test_x, test_y) = (images.between(0, len(images)) for images in (training, test))
    rows = Batches(training, config.train.batch_size, config.seed)
    numbered = Batches(type(training)(training.pixels, torch.arange(len(training))), config.train.batch_size, config.seed)
    order = (numbered.at(step)[1] for step in itertools.count())
    assert torch.equal(y[numbered.at(7)[1]], rows.at(7)[1])

    network = one_file.build_network(norm == "batch", config.network.init_std, config.seed)
    accuracies, curves = [], []
    for step in one_file.train(network, x, y, order, config.train.lr, config.train.steps, config.train.eval_every):
        accuracies.append(one_file.accuracy(network, test_x, test_y))
        if step % config.probe.every == 0:
            curves.append(one_file.percentiles(network, test_x[: config.probe.batch_size]).T[: config.probe.num_units])
    np.testing.assert_allclose(accuracies, record.column("accuracy")[1], atol=1.01 / len(test))
    assert len(set(accuracies)) > 3
    np.testing.assert_allclose(torch.stack(curves), record.activations["hidden.2/after_norm/unit_percentiles"], rtol=1e-3, atol=1e-4)

    before = network(test_x)
    one_file.estimate_population_statistics(network, (x[next(order)] for _ in range(config.train.population_batches)))
    assert one_file.accuracy(network, test_x, test_y) == pytest.approx(summary["accuracy"], abs=1.01 / len(test))
    assert torch.equal(network(test_x), before) == (norm == "none")


def test_algorithm_2_is_the_mean_over_batches_of_means_and_unbiased_variances():
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(one_file.BatchNorm(3))
    batches = [torch.randn(5, 3, generator=generator) * 2 + 1 for _ in range(4)]
    one_file.estimate_population_statistics(network, batches)
    torch.testing.assert_close(network[0].population_mean, torch.stack([b.mean(0) for b in batches]).mean(0))
    torch.testing.assert_close(network[0].population_var, torch.stack([b.var(0, correction=1) for b in batches]).mean(0))


def test_it_prints_accuracies_and_draws_the_figure(monkeypatch, tmp_path, capsys, restored_torch_settings):
    from xml.etree import ElementTree

    from bn_repro.data.images import synthetic_patterns

    arrays = synthetic_patterns((28, 28))

    class MadeUp:
        def __init__(self, folder, train, download):
            self.data, self.targets = (torch.from_numpy(array) for array in arrays["train" if train else "test"])

    monkeypatch.setattr(one_file, "MNIST", MadeUp)
    monkeypatch.setattr("sys.argv", ["bn_in_one_file.py", "--steps", "20", "--figure", str(tmp_path / "figure.svg")])
    one_file.main()
    printed = capsys.readouterr().out
    assert printed.count("step 20: test accuracy") == 2 and printed.count("with BN, by Algorithm 2's population statistics") == 1
    lines = ElementTree.parse(tmp_path / "figure.svg").iter("{http://www.w3.org/2000/svg}polyline")
    points = [[float(point.split(",")[1]) for point in line.get("points").split()] for line in lines]
    assert [len(curve) for curve in points] == [21] * 8
    assert len(set(points[0])) > 1, "accuracies below 70 % are drawn where they are"


@pytest.mark.parametrize("mistake", [("--steps", "0"), ("--figure", "nofolder/figure.svg"), ("--figure", "figure.png")])
def test_a_mistake_is_told_before_anything_is_read(mistake, monkeypatch, capsys):
    monkeypatch.setattr(one_file, "MNIST", None)
    monkeypatch.setattr("sys.argv", ["bn_in_one_file.py", *mistake])
    with pytest.raises(SystemExit, match="2"):
        one_file.main()
    assert "--steps must be at least 1, and --figure an .svg in a folder that is there" in capsys.readouterr().err
