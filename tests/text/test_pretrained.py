"""Published BERT weights under the old and the new names of the hub."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertConfig as PublishedConfig
from transformers import BertForPreTraining

from deixis.errors import InputError, ModelError
from deixis.text.bert import Bert, BertConfig
from deixis.text.pretrained import load_pretrained

TINY = BertConfig(layers=2, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24)


@pytest.fixture(scope="module")
def published() -> BertForPreTraining:
    torch.manual_seed(0)
    config = PublishedConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    return BertForPreTraining(config).eval()


def state(model: BertForPreTraining, *, old: bool = False) -> dict[str, Tensor]:
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if old:
        return {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in tensors.items()
        } | {"bert.embeddings.position_ids": torch.arange(24)[None]}
    return tensors


@pytest.mark.parametrize(("name", "old"), [("model.safetensors", True), ("pytorch_model.bin", False)])
def test_it_gives_the_features_of_transformers(
    published: BertForPreTraining, name: str, old: bool, tmp_path: Path
) -> None:
    weights = state(published, old=old)
    save_file(weights, tmp_path / name) if name.endswith("safetensors") else torch.save(weights, tmp_path / name)
    bert = Bert(TINY).eval()
    load_pretrained(bert, tmp_path / name)
    words, mask = torch.tensor([[3, 5, 7, 0]]), torch.tensor([[True, True, True, False]])
    theirs = published.bert(input_ids=words, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(bert(words, mask)[mask], theirs[mask], atol=1e-5, rtol=1e-5)


def test_a_shorter_bert_reads_the_first_layers(published: BertForPreTraining, tmp_path: Path) -> None:
    torch.save(state(published), tmp_path / "bert.bin")
    bert = Bert(replace(TINY, layers=1))
    load_pretrained(bert, tmp_path / "bert.bin")
    ours, theirs = bert.bert.encoder.layer[0], published.bert.encoder.layer[0]
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())


def test_weights_that_do_not_fit_are_named(published: BertForPreTraining, tmp_path: Path) -> None:
    path = tmp_path / "bert.bin"
    torch.save(state(published), path)
    with pytest.raises(InputError, match=r"lacks encoder\.layer\.2\."):
        load_pretrained(Bert(replace(TINY, layers=3)), path)
    with pytest.raises(InputError, match=r"of shape \[40, 16\]; this BERT expects \[41, 16\]"):
        load_pretrained(Bert(replace(TINY, vocabulary=41)), path)
    torch.save(state(published) | {"bert.embeddings.more": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"has an unexpected embeddings\.more \(1 in all\)"):
        load_pretrained(Bert(TINY), path)
    torch.save([1], path)
    with pytest.raises(ModelError, match="holds a list"):
        load_pretrained(Bert(TINY), path)
    path.write_bytes(b"<html>")
    with pytest.raises(ModelError, match="is a web page"):
        load_pretrained(Bert(TINY), path)
    with pytest.raises(InputError, match="There are no weights"):
        load_pretrained(Bert(TINY), tmp_path / "absent.bin")


def test_values_that_are_not_finite_are_named(published: BertForPreTraining, tmp_path: Path) -> None:
    weights = state(published)
    weights["bert.encoder.layer.1.output.dense.weight"][2, 3] = float("inf")
    torch.save(weights, tmp_path / "bert.bin")
    with pytest.raises(
        ModelError, match=r"bert\.bin has a weight 'encoder\.layer\.1\.output\.dense\.weight' with values"
    ):
        load_pretrained(Bert(TINY), tmp_path / "bert.bin")
    load_pretrained(Bert(replace(TINY, layers=1)), tmp_path / "bert.bin")  # does not read that layer


def test_a_layer_with_an_endless_number_is_one_sentence(published: BertForPreTraining, tmp_path: Path) -> None:
    torch.save(state(published) | {f"bert.encoder.layer.{'9' * 5000}.x": torch.zeros(1)}, tmp_path / "bert.bin")
    with pytest.raises(InputError, match=r"has an unexpected encoder\.layer\.9999"):
        load_pretrained(Bert(TINY), tmp_path / "bert.bin")


@pytest.mark.parametrize("held", [{"model": None}, {"model": [1]}, {}])
def test_a_file_without_tensors_is_one_sentence(held: dict[str, object], tmp_path: Path) -> None:
    torch.save(held, tmp_path / "bert.bin")
    with pytest.raises(InputError, match=r"lacks embeddings\."):
        load_pretrained(Bert(TINY), tmp_path / "bert.bin")
