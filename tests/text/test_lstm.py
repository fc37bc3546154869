"""The LSTM against PyTorch's on packed sequences."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deixis.text.lstm import LSTM


def test_it_is_pytorchs_lstm_on_packed_sequences_and_padding_is_zero() -> None:
    torch.manual_seed(0)
    own, other = LSTM(5, 6).double(), nn.LSTM(5, 6, batch_first=True).double()
    other.load_state_dict(own.state_dict())
    lengths = torch.tensor([4, 2, 3])
    features = torch.randn(3, 4, 5).double()
    packed, _ = other(pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    torch.testing.assert_close(own(features, torch.arange(4) < lengths[:, None]), expected)
