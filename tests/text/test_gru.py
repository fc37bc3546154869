"""The bidirectional GRU against PyTorch's on packed sequences."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deixis.errors import InputError
from deixis.text.gru import BiGRU, GRUConfig, WordEncoder


def test_it_equals_pytorchs_gru_on_packed_sequences() -> None:
    torch.manual_seed(0)
    ours, theirs = BiGRU(5, 8).double(), nn.GRU(5, 4, batch_first=True, bidirectional=True).double()
    ours.load_state_dict(theirs.state_dict())  # under the same names
    lengths = torch.tensor([6, 1, 4])
    features, mask = torch.randn(3, 6, 5, dtype=torch.double), torch.arange(6) < lengths[:, None]
    packed = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    torch.testing.assert_close(ours(features, mask), expected)
    assert not ours(features, mask)[~mask].any()


def test_an_expression_without_words_has_zero_features() -> None:
    mask = torch.zeros(1, 3, dtype=torch.bool)
    assert not BiGRU(5, 8)(torch.randn(1, 3, 5), mask).any()


def test_the_encoder_returns_the_vectors_and_the_features_of_the_words() -> None:
    encoder = WordEncoder(GRUConfig(vocabulary=9, embedding=5, width=8))
    ids, mask = torch.tensor([[3, 7], [2, 0]]), torch.tensor([[True, True], [True, False]])
    vectors, features = encoder(ids, mask)
    assert torch.equal(vectors, encoder.words.weight[ids])
    torch.testing.assert_close(features, encoder.gru(vectors, mask))
    assert features.shape == (2, 2, 8)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"vocabulary": 0}, "'vocabulary' is 0"), ({"embedding": 0}, "'embedding'"), ({"width": 7}, "even number")],
)
def test_a_wrong_config_is_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        GRUConfig(**change)
