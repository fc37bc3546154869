"""BERT in stages: the whole is its parts, and padding words change nothing."""

import pytest
import torch
from transformers import BertConfig as PublishedConfig
from transformers import BertModel

from deixis.errors import DeixisError
from deixis.text.bert import Bert, BertConfig

TINY = BertConfig(layers=3, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24)
WORDS = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 8, 5, 6, 11, 3]])
MASK = torch.tensor([[True, True, True, True, False, False], [True] * 6])


@pytest.fixture
def bert() -> Bert:
    torch.manual_seed(0)
    return Bert(TINY).eval()


def test_staged_equals_whole(bert: Bert) -> None:
    features = bert.embed(WORDS)
    for start, stop in ((0, 1), (1, 1), (1, 3)):
        features = bert.layers(features, MASK, start, stop)
    torch.testing.assert_close(features, bert(WORDS, MASK))


def test_it_equals_the_model_of_transformers(bert: Bert) -> None:
    published = PublishedConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        attn_implementation="eager",
    )
    theirs = BertModel(published, add_pooling_layer=False).eval()
    theirs.load_state_dict(bert.bert.state_dict())
    expected = theirs(input_ids=WORDS, attention_mask=MASK.long()).last_hidden_state
    torch.testing.assert_close(bert(WORDS, MASK)[MASK], expected[MASK], atol=1e-5, rtol=1e-5)


def test_padding_words_change_nothing(bert: Bert) -> None:
    alone = bert(WORDS[:1, :4], MASK[:1, :4])
    padded = bert(WORDS, MASK)
    torch.testing.assert_close(padded[:1, :4], alone, atol=1e-5, rtol=1e-5)
    other = WORDS.clone()
    other[0, 4:] = 13
    torch.testing.assert_close(bert(other, MASK)[MASK], padded[MASK], atol=1e-5, rtol=1e-5)


def test_every_weight_but_the_second_token_type_gets_gradient(bert: Bert) -> None:
    bert.train()(WORDS, MASK)[MASK].square().sum().mul(1.5).backward()
    without = [name for name, weight in bert.named_parameters() if weight.grad is None]
    assert without == []


def test_heads_must_share_the_width() -> None:
    with pytest.raises(DeixisError, match="cannot share"):
        BertConfig(width=10, heads=3)
    with pytest.raises(DeixisError, match="positive"):
        BertConfig(layers=0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": 0}, "BERT's heads cannot be 0; give a positive number"),
        ({"width": 0}, "width cannot be 0"),
        ({"width": -12}, "width cannot be -12"),
        ({"dropout": 2.0}, "dropout is a probability in .0, 1., not 2.0"),
        ({"dropout": float("nan")}, "not nan"),
    ],
)
def test_a_size_out_of_range_is_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(DeixisError, match=sentence):
        BertConfig(**change)
