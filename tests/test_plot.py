"""Do the public plots draw what any recorder recorded, of a network that is none of ours?"""

import numpy as np
import pytest
import torch
from torch import nn

from bn_repro import plot
from bn_repro.measures.drift import layers_at
from bn_repro.probes import ActivationProbe, ActivationRecorder, sites_around


def train(network, steps=6, every=2):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    with ActivationRecorder(network, every=every) as recorder:
        for _ in range(steps):
            x = torch.randn(16, 3, 6, 6, generator=generator)
            loss = nn.functional.cross_entropy(network(x), torch.randint(4, (16,), generator=generator))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return recorder.arrays()


def network(has_norms=True):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d if has_norms else nn.Identity
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm(4), nn.ReLU(), nn.Conv2d(4, 4, 3), norm(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4))


@pytest.fixture(scope="module")
def arrays():
    return train(network())


@pytest.fixture(scope="module")
def plain():
    return train(network(has_norms=False))


def test_percentiles_of_every_layer_are_the_recorded_ones(arrays):
    figure = plot.percentiles(arrays)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in shown] == ["1", "4"] == layers_at(arrays, "in")
    for axis, layer in zip(shown, ("1", "4")):
        (line,) = axis.lines
        assert line.get_xdata().tolist() == [0, 2, 4]
        np.testing.assert_array_equal(line.get_ydata(), arrays[f"{layer}/in/percentiles"][:, 1])
        (band,) = axis.collections
        lows_and_highs = band.get_paths()[0].vertices[:, 1]
        assert lows_and_highs.min() == pytest.approx(arrays[f"{layer}/in/percentiles"][:, 0].min())
        assert lows_and_highs.max() == pytest.approx(arrays[f"{layer}/in/percentiles"][:, 2].max())


def test_networks_with_other_layers_are_drawn_together(arrays, plain):
    figure = plot.percentiles({"without BN": plain, "mine": arrays}, place="out")
    shown = {axis.get_title(loc="left"): axis for axis in figure.axes if axis.get_visible()}
    assert list(shown) == ["0", "3", "7", "1", "4"]
    assert [line.get_label() for line in shown["0"].lines] == ["without BN", "mine"] and len(shown["1"].lines) == 1
    assert shown["1"].lines[0].get_color() != shown["0"].lines[0].get_color()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["without BN", "mine"]


def test_many_layers_fill_rows_of_five_and_long_names_are_cut(arrays):
    name = "stages.0.blocks.1.attention.projection"
    many = {"step": arrays["step"]}
    for layer in ("a", "b", "c", "d", "e", "f", name):
        many |= {f"{layer}/in/{measure}": arrays[f"1/in/{measure}"] for measure in ("percentiles", "histogram", "range")}
    axes = plot.percentiles(many).axes
    assert [axis.get_visible() for axis in axes] == [True] * 7 + [False] * 3
    title = axes[6].get_title(loc="left")
    assert title.startswith("…") and name.endswith(title[1:]) and len(title) == plot.WIDEST_NAME


def test_ridges_of_chosen_layers(arrays, plain):
    figure = plot.ridges(arrays, layers=["4"])
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["0", "2", "4"] and len(axis.collections) == 3
    figure = plot.ridges({"without BN": plain, "mine": arrays}, place="out")
    assert [axis.get_visible() for axis in figure.axes] == [True, True, False, True, True, True]
    assert [axis.get_title(loc="left") for axis in figure.axes[:2]] == ["0\nwithout BN", "7\nwithout BN"]


def test_drift_is_the_distance_of_each_record_to_the_last(arrays):
    figure = plot.drift({"a": arrays, "b": arrays}, place="out")
    left, right, _ = figure.axes
    drawn = left.collections[0].get_array()
    shares = np.cumsum(arrays["0/out/histogram"], axis=1) / arrays["0/out/histogram"].sum(1, keepdims=True)
    np.testing.assert_allclose(drawn[0], np.abs(shares - shares[-1]).max(1))
    assert drawn.shape == (5, 3) and np.all(drawn[:, -1] == 0) and np.all(drawn[:, 0] > 0)
    assert [label.get_text() for label in left.get_yticklabels()] == ["0", "1", "3", "4", "7"]
    assert left.collections[0].get_clim() == right.collections[0].get_clim()


def test_unevenly_spaced_records_keep_their_places():
    assert plot.edges_between(np.array([0, 2, 10])).tolist() == [-1, 1, 6, 14]


def test_a_runs_own_record_is_drawn_at_the_input_of_its_nonlinearities():
    from bn_repro.networks import SigmoidMLP

    mlp = SigmoidMLP(36, 4, depth=2, width=8)
    probe = ActivationProbe(mlp, sites_around(mlp))
    rows = [probe(torch.randn(20, 6, 6, generator=torch.Generator().manual_seed(seed)))[1] for seed in range(3)]
    record = {"step": np.array([0, 10, 20])} | {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    axes = plot.percentiles(record).axes
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), record["hidden.1/after_norm/percentiles"][:, 1])
    for draw in (plot.percentiles, plot.ridges, plot.drift):
        assert draw(record, place="after_nonlinearity").axes


def test_a_layer_that_some_passes_did_not_call_is_drawn_where_it_was(arrays):
    holey = {name: array.copy() for name, array in arrays.items()}
    holey["1/in/percentiles"][1], holey["1/in/histogram"][1] = np.nan, 0
    drawn = plot.drift(holey).axes[0].collections[0].get_array()
    assert drawn.mask.tolist() == [[False, True, False], [False] * 3]
    assert plot.percentiles(holey).axes and plot.ridges(holey).axes


@pytest.mark.parametrize(
    "draw, message",
    [
        (lambda arrays: plot.drift(arrays, place="before"), "place 'before' was not recorded; choices: out, in"),
        (lambda arrays: plot.ridges(arrays, layers=["0.conv"]), "layer '0.conv' was not recorded at 'in'"),
        (lambda arrays: plot.percentiles(ActivationRecorder(network()).arrays()), "nothing was recorded"),
        (lambda arrays: plot.percentiles({}), "nothing to draw"),
        (lambda arrays: plot.drift({name: array[:1] for name, array in arrays.items()}), "fewer than two"),
    ],
)
def test_what_cannot_be_drawn_is_said(arrays, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(arrays)


def recorded(network, **settings):
    with ActivationRecorder(network, every=1, **settings) as recorder:
        for seed in range(3):
            network(torch.randn(40, 4, generator=torch.Generator().manual_seed(seed)))
    return recorder.arrays()


def test_ridges_of_unlike_bins_have_a_common_range():
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    wide, narrow = recorded(network), recorded(network, bounds=(-3.0, 3.0), num_bins=50)
    limits = [plot.ridges(of, "out").axes[0].get_xlim() for of in ({"a": wide, "b": narrow}, {"a": wide}, {"b": narrow})]
    assert limits[0] == pytest.approx((min(limits[1][0], limits[2][0]), max(limits[1][1], limits[2][1])))


def test_drift_is_drawn_where_all_were_recorded():
    plain, normed = nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    both = {"plain": recorded(plain), "normed": recorded(normed)}
    assert len(plot.drift(both).axes) == 3  # two panels and the scale
    with pytest.raises(ValueError, match="nothing was recorded at 'in' of plain"):
        plot.drift(both, "in")


def test_a_network_that_reached_infinity_does_not_hide_the_others(arrays):
    lost = {name: values.copy() for name, values in arrays.items()}
    for name in lost:
        if name.endswith("/histogram"):
            lost[name][-1] = 0  # no finite value in the last record
    for recorded in ({"lost": lost, "mine": arrays}, {"mine": arrays, "lost": lost}):
        figure = plot.drift(recorded)
        assert [axis.collections[0].get_clim() for axis in figure.axes[:2]] == [plot.drift(arrays).axes[0].collections[0].get_clim()] * 2


def test_long_names_are_cut_where_they_are_the_same():
    names = [f"encoder.layer.{number}.attention.output.LayerNorm" for number in range(3)]
    assert [plot.shortened(name, names) for name in names] == ["encoder.layer.0", "encoder.layer.1", "encoder.layer.2"]
    assert plot.shortened(names[0], names[:1]) == "…" + names[0][1 - plot.WIDEST_NAME :]
    assert plot.shortened("fc", names) == "fc"


def test_arms_of_ours_that_look_the_same_elsewhere_do_not_in_one_figure(arrays):
    first, second = plot.styles_of({"without BN": arrays, "Inception": arrays})
    assert first != second


def test_one_record_is_seen():
    (line,) = plot.percentiles(train(network(), steps=1)).axes[0].lines
    assert line.get_marker() == "o"
