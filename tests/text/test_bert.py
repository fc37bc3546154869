"""Our BERT against that of transformers, and its promises: groups of layers, padding, gradients, sizes."""

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig as PublishedConfig
from transformers import BertModel

from deixis.errors import InputError
from deixis.text.bert import Bert, BertConfig, BertLayer

TINY = BertConfig(layers=3, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24)
TOKEN_IDS = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 8, 5, 6, 11, 3]])
TOKEN_MASK = torch.tensor([[True, True, True, True, False, False], [True] * 6])


@pytest.fixture
def bert() -> Bert:
    torch.manual_seed(0)
    return Bert(TINY).eval()


def published(attention: str) -> BertModel:
    """A random BERT of transformers, with weights large enough for every layer to matter."""
    config = PublishedConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        attn_implementation=attention,
    )
    torch.manual_seed(1)
    theirs = BertModel(config, add_pooling_layer=False).eval()
    for weight in theirs.parameters():
        nn.init.normal_(weight, std=0.3)
    return theirs


def copied(theirs: BertModel) -> Bert:
    bert = Bert(TINY).eval()
    assert list(bert.bert.state_dict()) == list(theirs.state_dict())
    bert.bert.load_state_dict(theirs.state_dict())
    return bert


def after_every_layer(bert: Bert, token_ids: Tensor, token_mask: Tensor) -> list[Tensor]:
    hidden = [bert.embed(token_ids)]
    for layer in range(TINY.layers):
        hidden.append(bert.layers(hidden[-1], token_mask, layer, layer + 1))
    return hidden


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("is_padded", [True, False])
def test_it_equals_the_model_of_transformers_after_every_layer(attention: str, is_padded: bool) -> None:
    theirs = published(attention)
    token_mask = TOKEN_MASK if is_padded else torch.ones_like(TOKEN_MASK)
    ours = after_every_layer(copied(theirs), TOKEN_IDS, token_mask)
    expected = theirs(input_ids=TOKEN_IDS, attention_mask=token_mask.long(), output_hidden_states=True).hidden_states
    assert len(ours) == len(expected) == 4
    for features, theirs_too in zip(ours, expected, strict=True):
        torch.testing.assert_close(features[token_mask], theirs_too[token_mask], atol=1e-6, rtol=1e-6)


def test_its_gradients_equal_those_of_transformers() -> None:
    theirs = published("eager")
    bert = copied(theirs)
    bert(TOKEN_IDS, TOKEN_MASK)[TOKEN_MASK].sin().sum().backward()
    hidden = theirs(input_ids=TOKEN_IDS, attention_mask=TOKEN_MASK.long()).last_hidden_state
    hidden[TOKEN_MASK].sin().sum().backward()
    expected = dict(theirs.named_parameters())
    for name, weight in bert.bert.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name].grad, atol=1e-5, rtol=1e-5, msg=name)


def test_dropout_is_where_transformers_has_it() -> None:
    theirs = published("sdpa").train()
    bert = copied(theirs).train()
    torch.manual_seed(5)
    ours = bert(TOKEN_IDS, torch.ones_like(TOKEN_MASK))
    assert not torch.allclose(ours, bert(TOKEN_IDS, torch.ones_like(TOKEN_MASK)))
    torch.manual_seed(5)
    expected = theirs(input_ids=TOKEN_IDS, attention_mask=torch.ones_like(TOKEN_MASK).long()).last_hidden_state
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_fresh_weights_are_distributed_as_published() -> None:
    torch.manual_seed(0)
    bert = Bert(BertConfig(layers=1, width=64, heads=2, feed_forward=256, vocabulary=500, positions=64))
    for name, weight in bert.named_parameters():
        if "LayerNorm" in name or name.endswith("bias"):
            assert (weight == float(name.endswith("LayerNorm.weight"))).all(), name
        else:
            assert weight.detach().std().item() == pytest.approx(0.02, rel=0.15), name
            assert abs(weight.detach().mean().item()) < 0.005, name
    assert (bert.bert.embeddings.word_embeddings.weight[0] == 0).all()


def test_it_has_no_buffers_that_a_checkpoint_would_not_fill(bert: Bert) -> None:
    assert list(bert.buffers()) == []


def test_groups_of_layers_equal_all_at_once(bert: Bert) -> None:
    features = bert.embed(TOKEN_IDS)
    for start, stop in ((0, 1), (1, 1), (1, 3)):
        features = bert.layers(features, TOKEN_MASK, start, stop)
    torch.testing.assert_close(features, bert(TOKEN_IDS, TOKEN_MASK))


def test_padding_tokens_change_nothing(bert: Bert) -> None:
    alone = bert(TOKEN_IDS[:1, :4], TOKEN_MASK[:1, :4])
    padded = bert(TOKEN_IDS, TOKEN_MASK)
    torch.testing.assert_close(padded[:1, :4], alone, atol=1e-5, rtol=1e-5)
    other = TOKEN_IDS.clone()
    other[0, 4:] = 13
    torch.testing.assert_close(bert(other, TOKEN_MASK)[TOKEN_MASK], padded[TOKEN_MASK], atol=1e-5, rtol=1e-5)


def test_every_weight_gets_gradient_but_the_second_token_type_and_padding(bert: Bert) -> None:
    bert.train()(TOKEN_IDS, TOKEN_MASK)[TOKEN_MASK].square().sum().mul(1.5).backward()
    assert all(weight.grad is not None for weight in bert.parameters())
    embeddings = bert.bert.embeddings
    assert embeddings.token_type_embeddings.weight.grad[0].any()
    assert not embeddings.token_type_embeddings.weight.grad[1].any()
    assert embeddings.word_embeddings.weight.grad[2].any()
    assert not embeddings.word_embeddings.weight.grad[0].any()


def test_a_layer_alone_adds_its_bias_to_the_scores() -> None:
    torch.manual_seed(2)
    layer = BertLayer(16, 2, 32, 0.1).eval()
    features = torch.randn(2, 5, 16)
    without = layer(features)
    torch.testing.assert_close(layer(features, torch.zeros(2, 1, 1, 5)), without)
    bias = torch.zeros(2, 1, 1, 5)
    bias[:, ..., 3:] = -1e4
    torch.testing.assert_close(layer(features, bias)[:, :3], layer(features[:, :3]), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(layer(features, bias), without)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 10, "heads": 3}, "width 10 is not divisible by its 3 heads; choose"),
        ({"layers": 0}, "'layers' is 0; expected a positive number"),
        ({"heads": 0}, "BERT's 'heads' is 0; expected a positive number"),
        ({"width": 0}, "'width' is 0"),
        ({"width": -12}, "'width' is -12"),
        ({"dropout": 2.0}, r"'dropout' is 2.0; expected a probability in \[0, 1\)"),
        ({"dropout": float("nan")}, "'dropout' is nan"),
    ],
)
def test_a_size_out_of_range_is_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        BertConfig(**change)
