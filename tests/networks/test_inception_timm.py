"""The registered networks keep timm's model contract."""

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.utils import reparameterize_model
from torch import nn

from bn_repro.networks import inception_timm
from bn_repro.networks.inception import Inception
from bn_repro.networks.inception_inference import ProjectFirst
from bn_repro.networks.inception_weights import caffe_layer_names, from_caffe_layout
from bn_repro.norms import batch_norms, fold_batch_norms

NAMES = tuple(inception_timm.default_cfgs)
NARROW = {"width": 0.25}


def create(name, **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, **NARROW, **kwargs)


def images(name, n=2, in_chans=3):
    side = 32 if "small" in name else 96
    return torch.randn(n, in_chans, side, side, generator=torch.Generator().manual_seed(1))


def test_all_are_listed_and_at_full_width():
    counts = {name: sum(p.numel() for p in timm.create_model(name).parameters()) for name in NAMES}
    assert set(NAMES) <= set(timm.list_models())
    assert (counts["bn_inception"], counts["bn_inception_separable"]) == (11_285_224, 11_278_528)
    # Without BN each of the hidden layers' 10,016 filters has one bias instead of gamma and beta.
    assert counts["bn_inception"] - counts["inception_no_bn"] == 10_016
    assert counts["bn_inception_small"] - counts["inception_small_no_bn"] == 10_016


@pytest.mark.parametrize("name", NAMES)
def test_default_cfg_is_true_of_the_model(name):
    model = create(name)
    cfg = model.default_cfg
    for layer in (cfg["first_conv"], cfg["classifier"]):
        assert f"{layer}.weight" in model.state_dict()
    assert model.get_submodule(cfg["first_conv"]) is next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    assert model.get_classifier() is model.get_submodule(cfg["classifier"]) and model.get_classifier(name_only=True) == "fc"
    assert model.num_classes == cfg["num_classes"] == model.fc.out_features
    assert model.num_features == model.head_hidden_size == model.fc.in_features == 256
    features = model.eval().forward_features(torch.zeros(1, *cfg["input_size"]))
    assert features.shape == (1, model.num_features, *cfg["pool_size"])


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_receives_a_gradient(name):
    model = create(name, num_classes=7, in_chans=2, drop_rate=0.5)
    assert model.head_drop.p == 0.5
    logits = model(images(name, in_chans=2))
    assert logits.shape == (2, 7)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_head_and_its_replacements(name):
    model, x = create(name).eval(), images(name)
    features = model.forward_features(x)
    torch.testing.assert_close(model.forward_head(features), model(x))
    torch.testing.assert_close(model.forward_head(features, pre_logits=True), features.mean((2, 3)))
    model.reset_classifier(0)
    torch.testing.assert_close(model(x), features.mean((2, 3)))
    model.reset_classifier(0, "")
    torch.testing.assert_close(model(x), features)
    model.reset_classifier(5, "catavgmax")
    assert (model.num_classes, model.head_hidden_size, model.fc.in_features) == (5, 512, 512) and not model.fc.training
    assert model(x).shape == (2, 5)
    assert create(name, num_classes=0, global_pool="max").eval()(x).shape == (2, 256)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_feature_info(name):
    model, x = create(name).eval(), images(name)
    extractor = create(name, features_only=True).eval()
    levels = extractor(x)
    channels, reductions = extractor.feature_info.channels(), extractor.feature_info.reduction()
    assert len(levels) == len(model.feature_info) == (3 if "small" in name else 5)
    assert [level.shape[1:] for level in levels] == [(c, x.shape[2] // r, x.shape[2] // r) for c, r in zip(channels, reductions)]
    final, intermediates = model.forward_intermediates(x)
    torch.testing.assert_close(intermediates, levels)
    torch.testing.assert_close(final, model.forward_features(x))
    torch.testing.assert_close(
        timm.create_model(name, features_only=True, out_indices=(2,), **NARROW).feature_info.channels(), channels[2:3]
    )


def test_forward_intermediates_chooses_and_stops():
    model, x = create("bn_inception").eval(), images("bn_inception")
    everything = model.forward_intermediates(x, intermediates_only=True)
    torch.testing.assert_close(model.forward_intermediates(x, indices=2, intermediates_only=True), everything[-2:])
    ran = []
    model.inception.get_submodule("3c").register_forward_hook(lambda *_: ran.append("3c"))
    last, chosen = model.forward_intermediates(x, indices=[2, 0], stop_early=True)
    torch.testing.assert_close(chosen, [everything[2], everything[0]])
    assert last is chosen[0] and not ran
    with pytest.raises(ValueError, match="output_fmt 'NLC' does not exist; choices: NCHW"):
        model.forward_intermediates(x, output_fmt="NLC")


def train_once(name, is_checkpointed):
    """Return the gradients, the state after it, and how many numbers the forward pass saved for the backward pass."""
    model, saved = create(name), []
    model.set_grad_checkpointing(is_checkpointed)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        logits = model(images(name))
    logits.square().mean().backward()
    return [p.grad for p in model.parameters()], dict(model.state_dict()), sum(saved)


@pytest.mark.parametrize("name", ["bn_inception", "inception_small_no_bn"])
def test_checkpointing_changes_no_gradient_and_no_statistic(name):
    *expected, num_saved = train_once(name, is_checkpointed=False)
    *results, num_saved_checkpointed = train_once(name, is_checkpointed=True)
    torch.testing.assert_close(results, expected)
    assert num_saved_checkpointed < num_saved / 2


def test_groups_are_in_order_of_depth():
    model = create("bn_inception")
    by_module = group_parameters(model, model.group_matcher())
    assert [sorted({".".join(name.split(".")[:2]) for name in by_module[i]}) for i in (1, 10)] == [["inception.3a"], ["inception.5b"]]
    assert set(by_module[11]) == {"fc.weight", "fc.bias"} and all(name.startswith("stem.") for name in by_module[0])
    by_resolution = group_parameters(model, model.group_matcher(coarse=True))
    assert [len({name.split(".")[1] for name in by_resolution[i]}) for i in (1, 2, 3)] == [3, 5, 2]


def test_weights_are_drawn_by_he_and_the_outputs_are_inceptions():
    model = create("bn_inception_small").eval()
    last = model.inception.get_submodule("5b").conv_3x3.affine.weight
    assert last.std().item() == pytest.approx((2 / (9 * last.shape[1])) ** 0.5, rel=0.05)
    plain = Inception(10, stem="small", stem_stride=1, **NARROW).eval()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(images("small")), plain(images("small")))


def caffe_state():
    source = Inception(1000, stem="dense", merge_reductions=False).state_dict()
    state = {f"last_linear.{value}": source[f"fc.{value}"] for value in ("weight", "bias")}
    for theirs, ours in caffe_layer_names().items():
        state[f"{theirs}.weight"] = source[f"{ours}.affine.weight"]
        state[f"{theirs}.bias"] = torch.ones(len(source[f"{ours}.norm.bias"]))
        state |= {f"{theirs}_bn.{value}": source[f"{ours}.norm.{value}"] for value in ("weight", "bias", "running_mean", "running_var")}
    return state


def test_public_weights_load_by_timms_own_way():
    state = caffe_state()
    model = timm.create_model("bn_inception", pretrained=True, pretrained_cfg_overlay={"state_dict": state})
    torch.testing.assert_close(dict(model.state_dict()), from_caffe_layout(state, model), rtol=0, atol=0)
    grey = timm.create_model("bn_inception", pretrained=True, pretrained_cfg_overlay={"state_dict": state}, in_chans=1, num_classes=0)
    torch.testing.assert_close(grey.stem.conv1.affine.weight, state["conv1_7x7_s2.weight"].sum(1, keepdim=True))


def test_batch_norms_fold():
    model, x = create("bn_inception").eval(), images("bn_inception")
    folded = fold_batch_norms(model)
    assert not batch_norms(folded)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_timm_reparameterizes(name):
    model, x = create(name).eval(), images(name)
    fused = reparameterize_model(model)
    assert sum(isinstance(m, ProjectFirst) for m in fused.modules()) == (7 if batch_norms(model) else 0)
    assert not batch_norms(fused.inception) and len(batch_norms(model.inception)) == len(batch_norms(create(name).inception))
    torch.testing.assert_close(fused(x), model(x), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(reparameterize_model(fold_batch_norms(model))(x), model(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_features_by_torch_fx_are_those_of_hooks(name):
    x = images(name)
    by_graph, by_hooks = create(name, features_only=True, feature_cls="fx").eval(), create(name, features_only=True).eval()
    torch.testing.assert_close(by_graph(x), by_hooks(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["bn_inception", "bn_inception_small"])
def test_pruned_stages_are_gone_and_the_chosen_levels_stay(name):
    model, x = create(name).eval(), images(name)
    every = model.forward_intermediates(x, intermediates_only=True)
    assert model.prune_intermediate_layers([0, 1]) == [0, 1]
    assert [stage for stage, _ in model.stages()][-1] == model.feature_info[1]["module"] and isinstance(model.fc, nn.Identity)
    torch.testing.assert_close(model.forward_intermediates(x, indices=[0, 1], intermediates_only=True), every[:2], rtol=0, atol=0)
    torch.testing.assert_close(model.forward_features(x), every[1], rtol=0, atol=0)
    torch.testing.assert_close(model.forward_intermediates(x, intermediates_only=True), every[:2], rtol=0, atol=0)
    model.reset_classifier(7, "avg")
    assert model(x).shape == (len(x), 7) and model.num_features == every[1].shape[1]
    whole = create(name)
    assert whole.prune_intermediate_layers(1, prune_head=False) == [len(every) - 1] and isinstance(whole.fc, nn.Linear)
    getter = create(name, features_only=True, feature_cls="getter", out_indices=(0, 1)).eval()
    torch.testing.assert_close(getter(x), every[:2], rtol=0, atol=0)


def test_device_and_type_are_those_asked_for():
    model = create("bn_inception_small", device="meta", dtype=torch.bfloat16, num_classes=3)
    floating = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    assert all(t.is_meta and t.dtype == torch.bfloat16 for t in floating) and len(floating) > 100
    assert create("bn_inception_small", dtype=torch.float64)(images("small").double()).dtype == torch.float64
    extractor = create("bn_inception_small", features_only=True, dtype=torch.float64).eval()
    assert [level.dtype for level in extractor(images("small").double())] == [torch.float64] * 3
