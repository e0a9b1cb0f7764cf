"""Does AWD-LSTM compute what its equations say, drop what each of its five dropouts names, and carry its state along?"""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from bn_repro.networks.awd_lstm import AwdLstm, LanguageModel, WeightDropLSTM, init_awd_lstm, locked_dropout

NUM_TOKENS, EMBEDDING, HIDDEN = 11, 4, 6


def encoder(**drops):
    made = AwdLstm(NUM_TOKENS, EMBEDDING, HIDDEN, num_layers=3, **drops)
    init_awd_lstm(made, torch.Generator().manual_seed(0))
    return made


def lstm_by_hand(layer, u, h, c, weight_hh):
    """The equations of Hochreiter & Schmidhuber with a forget gate, in float64, token by token."""
    weight_ih, bias = layer.weight_ih_l0.double(), (layer.bias_ih_l0 + layer.bias_hh_l0).double()
    outputs = []
    for x in u.double().unbind(1):
        i, f, g, o = (x @ weight_ih.T + h @ weight_hh.double().T + bias).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs, 1), h, c


@pytest.mark.parametrize("weight_drop", [0.0, 0.5])
def test_a_layer_by_hand_with_its_weights_dropped_alike_at_all_tokens(weight_drop):
    torch.manual_seed(0)
    layer = WeightDropLSTM(3, 5, weight_drop)
    u, state = torch.randn(2, 7, 3), (torch.randn(2, 5), torch.randn(2, 5))
    torch.manual_seed(1)
    outputs, (h, c) = layer(u, state)
    torch.manual_seed(1)
    dropped = F.dropout(layer.weight_hh_l0, weight_drop)
    assert (dropped == 0).any() == (weight_drop > 0)
    expected, h_end, c_end = lstm_by_hand(layer, u, *(part.double() for part in state), dropped)
    for got, wanted in ((outputs, expected), (h, h_end), (c, c_end)):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-6)
    layer.eval()
    expected, *_ = lstm_by_hand(layer, u, *2 * [torch.zeros(2, 5).double()], layer.weight_hh_l0)
    torch.testing.assert_close(layer(u)[0].double(), expected, rtol=1e-5, atol=1e-6)


def test_a_layer_uses_the_parameters_that_stand_in_its_own_place():
    """Probes call networks with moved parameters; torch's own LSTM would not notice."""
    layer, u = WeightDropLSTM(3, 5, 0.0), torch.randn(2, 4, 3)
    moved = {name: p + 1 for name, p in layer.named_parameters()}
    twin = nn.LSTM(3, 5, batch_first=True)
    twin.load_state_dict(moved)
    torch.testing.assert_close(functional_call(layer, moved, (u,))[0], twin(u)[0])


def test_the_encoder_is_torchs_layers_in_a_row():
    made, x = encoder(), torch.randint(0, NUM_TOKENS, (2, 5))
    u = made.embedding(x)
    for layer in made.layers:
        twin = nn.LSTM(layer.input_size, layer.hidden_size, batch_first=True)
        twin.load_state_dict(layer.state_dict())
        u, _ = twin(u)
    outputs, state = made(x)
    torch.testing.assert_close(outputs, u)
    assert outputs.shape == (2, 5, EMBEDDING) and [h.shape[1] for h, _ in state] == [HIDDEN, HIDDEN, EMBEDDING]


def test_dropped_embeddings_are_of_whole_tokens_wherever_they_stand():
    torch.manual_seed(0)
    made, x = encoder(embedding_drop=0.5), torch.arange(NUM_TOKENS).repeat(2, 2)
    seen, whole = made.embedding(x), made.embedding.weight[x]
    is_dropped = (seen == 0).all(2)
    assert 0 < is_dropped.sum() < is_dropped.numel() and is_dropped[0, :NUM_TOKENS].equal(is_dropped[1, NUM_TOKENS:])
    torch.testing.assert_close(seen[~is_dropped], 2 * whole[~is_dropped])
    assert made.eval().embedding(x).equal(whole)


def test_locked_dropout_is_one_mask_a_row():
    torch.manual_seed(0)
    seen = locked_dropout(torch.ones(3, 9, 50), 0.4, True)
    assert (seen == seen[:, :1]).all() and not seen[0].equal(seen[1])
    assert seen.unique().tolist() == pytest.approx([0, 1 / 0.6]) and (seen == 0).float().mean().item() == pytest.approx(0.4, abs=0.1)
    assert locked_dropout(seen, 0.4, False) is seen


@pytest.mark.parametrize("drop", ["embedding_drop", "input_drop", "weight_drop", "hidden_drop"])
def test_each_dropout_is_off_at_inference_and_on_in_training(drop):
    made, x = encoder(**{drop: 0.5}), torch.randint(0, NUM_TOKENS, (4, 6))
    assert not made(x)[0].equal(made(x)[0])
    made.eval()
    assert made(x)[0].equal(made(x)[0]) and made(x)[0].equal(encoder()(x)[0])


def model(**settings):
    return LanguageModel(encoder(), num_streams=2, **settings)


def test_in_training_it_reads_on_where_it_ended_without_gradient_to_there():
    x = torch.randint(2, NUM_TOKENS, (2, 12))
    whole, parts = model(), model()
    expected = whole(x).logits.view(2, 12, -1)
    first, second = (parts(part).logits.view(2, 6, -1) for part in x.split(6, 1))
    torch.testing.assert_close(torch.cat([first, second], 1), expected)
    assert parts.carried.equal(whole.carried) and not parts.carried.requires_grad
    second.sum().backward()  # the first window's graph is not needed
    assert whole.state_dict().keys() == {name for name, _ in whole.named_parameters()} | {"carried"}


def test_otherwise_each_row_is_a_text_and_padding_says_nothing():
    made = model().eval()
    short, long = [1, 5, 7], [1, 4, 3, 9, 2]
    logits = made(torch.tensor([[*short, 0, 0], long]))
    torch.testing.assert_close(logits, torch.cat([made(torch.tensor([short])), made(torch.tensor([long]))]))
    assert logits.shape == (8, NUM_TOKENS) and not made.carried.any()


def test_output_weights_are_the_embeddings_and_penalties_are_added():
    made = model(activation_penalty=2.0, temporal_penalty=3.0)
    x = torch.randint(2, NUM_TOKENS, (2, 5))
    logits, penalty = made(x)
    outputs, _ = made.encoder(x)
    torch.testing.assert_close(logits, outputs.flatten(0, 1) @ made.encoder.embedding.weight.T + made.bias)
    changes = (outputs[:, 1:] - outputs[:, :-1]).square().mean()
    torch.testing.assert_close(penalty, 2 * outputs.square().mean() + 3 * changes)
    torch.manual_seed(0)
    dropped = model(output_drop=0.5, activation_penalty=1.0)(x)
    assert not dropped.penalty.isclose(outputs.square().mean()) and not dropped.logits.isclose(logits).all()


def test_the_published_size():
    """Embeddings of 60,000 tokens, and 4 (inputs + features) + 8 weights a feature of each LSTM."""
    with torch.device("meta"):
        made = LanguageModel(AwdLstm(60_000), num_streams=1)
    lstms = [(400, 1152), (1152, 1152), (1152, 400)]
    expected = 60_000 * 400 + 60_000 + sum(o * (4 * (i + o) + 8) for i, o in lstms)
    assert sum(p.numel() for p in made.parameters()) == expected == 44_333_280


def test_initial_weights_are_the_generators_and_within_bounds():
    first, again = encoder(), encoder()
    assert all(p.equal(q) for p, q in zip(first.parameters(), again.parameters()))
    assert 0.09 < first.embedding.weight.abs().max() <= 0.1
    assert 0.3 < first.layers[2].weight_hh_l0.abs().max() <= EMBEDDING**-0.5
