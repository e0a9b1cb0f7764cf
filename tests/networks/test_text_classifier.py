"""Does the head pool real tokens alone, in the published order and size, on any encoder, and read fastai's weights?"""

import pytest
import torch
from torch import nn

from bn_repro.data.vocabulary import PADDING
from bn_repro.networks.awd_lstm import AwdLstm, LanguageModel
from bn_repro.networks.fastai_weights import from_fastai_layout
from bn_repro.networks.text_classifier import PooledClassifier, PoolingClassifier, TextClassifier, concat_pooling, encoded

NAN = float("nan")


def test_pooling_by_hand_with_padding_of_any_content():
    outputs = torch.tensor(
        [
            [[1.0, -4.0], [3.0, -2.0], [NAN, 9.0], [9.0, float("inf")]],
            [[NAN, NAN], [5.0, -1.0], [7.0, 7.0], [1.0, -3.0]],
            [[2.0, 2.0], [9.0, 9.0], [9.0, 9.0], [9.0, 9.0]],
        ]
    )
    is_real = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0]], dtype=torch.bool)
    assert concat_pooling(outputs, is_real).tolist() == [
        [3, -2, 3, -2, 2, -3],  # last, largest, mean
        [1, -3, 5, -1, 3, -2],
        [2, 2, 2, 2, 2, 2],
    ]


@pytest.mark.parametrize("norm, num_parameters", [("batch", 62_600), ("layer", 62_600), ("none", 60_152)])
def test_the_published_size(norm, num_parameters):
    head = PoolingClassifier(sizes=(1200, 50, 2), norm=norm)
    assert sum(p.numel() for p in head.parameters()) == num_parameters


def test_norm_then_dropout_then_linear_by_hand():
    """The head in training, in float64, its masks drawn again from the same random numbers."""
    head = PooledClassifier((6, 5, 2), drop_rates=(0.5, 0.25)).double()
    pooled = torch.randn(8, 6, dtype=torch.float64) * 3 + 1
    torch.manual_seed(0)
    logits = head(pooled)
    torch.manual_seed(0)
    u = pooled
    for block, rate, is_last in zip(head.blocks, (0.5, 0.25), (False, True)):
        xhat = (u - u.mean(0)) / (u.var(0, correction=0) + 1e-5).sqrt()
        mask = (torch.nn.functional.dropout(torch.ones_like(u), rate) > 0) / (1 - rate)
        u = (xhat * mask) @ block.linear.weight.T
        u = u if is_last else u.clamp_min(0)
        assert block.linear.bias is None
    torch.testing.assert_close(logits, u)


def test_a_layer_has_a_bias_only_without_norm():
    assert {type(block.norm) for block in PooledClassifier((3, 4, 2), "layer").blocks} == {nn.LayerNorm}
    assert all(block.linear.bias is not None for block in PooledClassifier((3, 4, 2), "none").blocks)
    with pytest.raises(ValueError, match=r"make 2 layers, drop_rates=\(0.1,\) are for 1"):
        PooledClassifier((3, 4, 2), drop_rates=(0.1,))


def test_the_head_stands_on_any_encoder():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    head = PoolingClassifier((24, 50, 3))
    x, is_real = torch.randn(4, 6, 8), torch.arange(6) < torch.tensor([[6], [2], [1], [4]])
    logits = head(encoder(x, src_key_padding_mask=~is_real), is_real)
    logits.sum().backward()
    assert logits.shape == (4, 3) and all(p.grad is not None for p in head.parameters())


def classifier(window=72, seed=0):
    torch.manual_seed(seed)
    return TextClassifier(AwdLstm(9, 4, 6, 2), PoolingClassifier((12, 5, 2)), window)


def test_padding_changes_no_logit_and_no_gradient():
    network = classifier().eval()
    alone = network(torch.tensor([[1, 5, 7]]))
    padded = network(torch.tensor([[1, 5, 7, PADDING, PADDING], [1, 2, 3, 4, 5]]))[:1]
    torch.testing.assert_close(padded, alone)
    by_parameters = [torch.autograd.grad(out.sum(), list(network.parameters()), allow_unused=True) for out in (alone, padded)]
    for one, other in zip(*by_parameters):
        torch.testing.assert_close(one, other)


def test_windows_change_no_output_but_cut_gradients():
    x = torch.randint(2, 9, (3, 7))
    whole, cut = classifier(72).eval(), classifier(3).eval()
    torch.testing.assert_close(cut(x), whole(x))
    by_embedding = [torch.autograd.grad(encoded(n.encoder, x, n.window)[:, 6].sum(), n.encoder.embedding.weight)[0] for n in (whole, cut)]
    is_read = torch.zeros(9, dtype=torch.bool).scatter(0, x.flatten(), True)
    in_last_window = torch.zeros(9, dtype=torch.bool).scatter(0, x[:, 6], True)
    assert (by_embedding[0].abs().sum(1) > 0).equal(is_read) and (by_embedding[1].abs().sum(1) > 0).equal(in_last_window)


def test_layer_groups_hold_every_parameter_once_bottom_first():
    network = classifier()
    groups = network.layer_groups()
    assert len(groups) == 4 and groups[0][0] is network.encoder.embedding.weight and groups[3] == list(network.head.parameters())
    assert sorted(id(p) for group in groups for p in group) == sorted(map(id, network.parameters()))


def fastai_head(sizes, rates):
    """The blocks of fastai's PoolingLinearClassifier: BatchNorm1d, Dropout, Linear without bias, ReLU between."""
    blocks = [nn.Sequential(nn.BatchNorm1d(i), nn.Dropout(r), nn.Linear(i, o, bias=False)) for i, o, r in zip(sizes, sizes[1:], rates)]
    blocks[0].append(nn.ReLU())
    return nn.Sequential(*blocks)


def test_weights_in_fastais_layout_give_fastais_logits():
    theirs, lstms = fastai_head((12, 5, 2), (0.4, 0.1)), [nn.LSTM(4, 6, batch_first=True), nn.LSTM(6, 4, batch_first=True)]
    embedding = nn.Embedding(9, 4)
    x = torch.randint(2, 9, (16, 5))
    u = embedding(x)
    for lstm in lstms:
        u, _ = lstm(u)
    pooled = torch.cat([u[:, -1], u.amax(1), u.mean(1)], 1)
    theirs(pooled * 2 + 1)  # moves the statistics
    state = {"0.module.encoder.weight": embedding.weight, "0.module.encoder_dp.emb.weight": embedding.weight}
    for number, lstm in enumerate(lstms):
        for name, p in lstm.named_parameters():
            state[f"0.module.rnns.{number}.module.{name}"] = p
        state[f"0.module.rnns.{number}.weight_hh_l0_raw"] = lstm.weight_hh_l0
    state |= {f"1.layers.{name}": tensor for name, tensor in theirs.state_dict().items()}
    network = classifier(seed=1)
    network.load_state_dict(from_fastai_layout(state))
    torch.testing.assert_close(network.eval()(x), theirs.eval()(pooled))

    model = LanguageModel(AwdLstm(9, 4, 6, 2), num_streams=1)
    of_model = {name.replace("module.", "", 1): p for name, p in state.items() if name.startswith("0.")}
    of_model |= {"1.decoder.weight": embedding.weight, "1.decoder.bias": torch.randn(9)}
    missing, unexpected = model.load_state_dict(from_fastai_layout(of_model), strict=False)
    assert missing == ["carried"] and not unexpected
    torch.testing.assert_close(model.eval()(x), u.flatten(0, 1) @ embedding.weight.T + of_model["1.decoder.bias"])
    with pytest.raises(ValueError, match="'0.layers.weight' is no weight of"):
        from_fastai_layout({"0.layers.weight": torch.zeros(1)})


def test_the_mean_of_many_tokens_fits_half_precision():
    outputs = (torch.randn(1, 600, 4, generator=torch.Generator().manual_seed(0)) + 200).half()
    for is_real in (torch.ones(1, 600, dtype=torch.bool), torch.ones(1, 600, dtype=torch.int64)):
        pooled = concat_pooling(outputs, is_real)
        torch.testing.assert_close(pooled[:, 8:].float(), outputs.float().mean(1), rtol=1e-3, atol=0)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"whether it is real, \(2, 3\); it has shape \(2, 1\)"):
        concat_pooling(torch.zeros(2, 3, 4), torch.ones(2, 1))


def test_a_mask_of_scores_and_texts_of_no_token_are_refused():
    outputs, is_real = torch.randn(2, 3, 4), torch.tensor([[True, True, False], [True, False, False]])
    scores = torch.zeros(2, 3).masked_fill(~is_real, -torch.inf)
    with pytest.raises(ValueError, match="1 where a token is real and 0 where it is padding"):
        concat_pooling(outputs, scores)
    assert torch.equal(concat_pooling(outputs, is_real.float()), concat_pooling(outputs, is_real))
    with pytest.raises(ValueError, match="row 0 has no real token"):
        concat_pooling(torch.zeros(2, 0, 4), torch.ones(2, 0))
    with pytest.raises(ValueError, match="row 1 has no real token"):
        concat_pooling(outputs, torch.tensor([[1, 1, 0], [0, 0, 0]]))


@pytest.mark.parametrize("outputs", [torch.zeros(2, 3), torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, dtype=int)])
def test_what_is_no_output_of_an_encoder_is_refused(outputs):
    with pytest.raises(ValueError, match=r"outputs must be numbers \(N, T, features\)"):
        concat_pooling(outputs, torch.ones(2, 3))
