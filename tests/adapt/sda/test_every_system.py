"""The stages of SDA on every system that it can adapt: finite terms, a gradient for every weight, options of tables."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deixis.adapt.sda.activation import ActivationOptions
from deixis.adapt.sda.affinity import AffinityConfig, AffinityKind
from deixis.adapt.sda.affinity_labels import AffinityLossConfig
from deixis.adapt.sda.categories import Clusters
from deixis.adapt.sda.classifier import CategoryClassifierConfig, CategoryLabelsConfig, log_odds
from deixis.adapt.sda.construction import CategoryOptions, ContentOptions
from deixis.adapt.sda.dual import DualAdaptationConfig
from deixis.adapt.sda.predictor import WordDistillationConfig, WordWeighingConfig
from deixis.adapt.sda.semantic import SemanticInitialisationConfig
from deixis.adapt.sda.structure import SemanticStructure
from deixis.batch import Batch, Domains, Pair
from deixis.errors import InputError, ModelError
from deixis.models.late_fusion import LateFusionConfig
from deixis.models.lavt import LAVTConfig
from deixis.models.sda import SDAConfig
from deixis.models.vega import VEGAConfig
from deixis.records import Ids
from deixis.system import Objective
from deixis.text.bert import BertConfig
from deixis.text.gru import GRUConfig
from deixis.vision.resnet import ResNetConfig
from deixis.vision.swin import SwinConfig

VISION = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0)
TEXT = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24, dropout=0.0)
RESNET = ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained")
TINY: dict[str, Any] = {
    "lavt": LAVTConfig(vision=VISION, text=TEXT),
    "sda": SDAConfig(
        vision=RESNET,
        text=GRUConfig(vocabulary=40, embedding=12, width=16),
        width=16,
        decoder_width=8,
        regions=20,
        compactness=100.0,
    ),
    "vega": VEGAConfig(vision=VISION, text=TEXT, width=32, heads=2, decoder_widths=(16, 16, 24)),
}
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{number}" for number in range(4, 40)))
CLASSIFIER = CategoryClassifierConfig(vision=RESNET, most=20)
# Contents of random words are far from each other: three clusters, and half of the entropy's range.
SEMANTIC = SemanticInitialisationConfig(
    categories=CategoryOptions(clusters=Clusters(method="k-means", count=3), boundary=0.7, similarity_temperature=0.3)
)
DUAL = DualAdaptationConfig(
    high=0.01,  # nearly every pixel is foreground
    low=0.005,
    memory=3,
    cells=2,
    relation_width=8,
    classifier=CLASSIFIER,
    activation=ActivationOptions(scales=(1.0,), background=0.01, regions=20, compactness=100.0),
)


def domain(name: str, seed: int, count: int = 6) -> Batch:
    """Sentences that begin with one of three words; two of them share an image."""
    draw = torch.Generator().manual_seed(seed)
    words = torch.randint(10, 40, (count, 6), generator=draw)
    words[:, 0], words[:, 1] = 2, 4 + torch.arange(count) % 3
    images = torch.randn(count - 1, 1, 3, 64, 64, generator=draw)
    index = torch.arange(count).clamp(max=count - 2)
    masks = torch.zeros(count, 64, 64, dtype=torch.bool)
    masks[:, 8:40, 16:48] = True
    return Batch(
        images=images,
        token_ids=words,
        token_mask=torch.arange(6) < torch.randint(4, 7, (count, 1), generator=draw),
        masks=masks,
        image_index=index,
        ids=tuple(Ids(f"{name}{int(image)}", "1", str(number)) for number, image in enumerate(index)),
        expressions=tuple(f"expression {number}" for number in range(count)),
    )


SOURCE, TARGET = domain("source", 0), replace(domain("target", 1), masks=None)
PAIR = Pair(source=SOURCE, target=TARGET)
DOMAINS = Domains(source=[SOURCE], target=[TARGET])


def structure() -> SemanticStructure:
    """Two of the source's three categories are on the target, and a new one."""
    from deixis.adapt.sda.structure import image_keys, sample_keys

    return SemanticStructure(
        source_keys=sample_keys(SOURCE).numpy(),
        source_labels=np.array([0, 1, 2, 0, 1, 2]),
        target_keys=sample_keys(TARGET).numpy(),
        target_labels=np.array([0, 1, 3, 0, 1, 3]),
        target_images=image_keys(TARGET).numpy(),
        num_source=3,
        num_new=1,
        common=(0, 1),
    )


def built(config: Any, system: Any, folder: Path) -> Any:
    objective = config.build(system, VOCABULARY)
    if hasattr(objective, "use_folders"):
        names = ("predictor", "semantic", "classifier", "affinity")
        objective.use_folders(folder / "own", {name: folder / name for name in names})
    return objective.train()


def store(module: torch.nn.Module, folder: Path, prefix: str = "") -> None:
    """As the last weights of a Run."""
    (folder / "last").mkdir(parents=True)
    save_file({prefix + name: each for name, each in module.state_dict().items()}, folder / "last/model.safetensors")


def still(objective: Any, terms: dict[str, torch.Tensor]) -> list[str]:
    """The trained weights that get no gradient."""
    torch.stack(list(terms.values())).sum().backward()
    named = ((name, weight) for name, weight in objective.named_parameters() if weight.requires_grad)
    return [name for name, weight in named if weight.grad is None or not weight.grad.any()]


@pytest.fixture(params=sorted(TINY))
def system(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return TINY[request.param].build()


def dual(system: Any, folder: Path, config: DualAdaptationConfig = DUAL) -> Any:
    torch.manual_seed(1)
    store(CLASSIFIER.build(), folder / "classifier")
    structure().save(folder / "semantic")
    objective = built(config, system, folder)
    objective.prepare(DOMAINS)
    return objective.train()


def test_the_third_stage_has_finite_terms_and_moves_every_weight(system: Any, tmp_path: Path) -> None:
    objective = dual(system, tmp_path)
    assert isinstance(objective, Objective)
    terms = objective(PAIR, 0)
    assert {"auxiliary", "contrast", "relation_source", "relation_target"} <= terms.keys()
    assert all(term.ndim == 0 and term.isfinite() and term != 0 for term in terms.values())
    assert still(objective, terms) == []
    assert len(list((tmp_path / "own/semantic_masks").rglob("*.png"))) == 5


def test_the_second_stage_finds_categories_and_adds_one_term(system: Any, tmp_path: Path) -> None:
    weighing = WordWeighingConfig(segmenter=system.config).build()
    store(weighing.predictor, tmp_path / "predictor", "predictor.")
    objective = built(SEMANTIC, system, tmp_path)
    objective.prepare(DOMAINS)
    terms = objective.train()(PAIR, 0)
    assert terms["semantic"].isfinite()
    assert terms["semantic"] > 0
    assert still(objective, terms) == []
    before = objective.prototypes.clone()
    objective.after_step(0)
    assert not torch.equal(objective.prototypes, before)
    found = SemanticStructure.load(tmp_path / "own")
    assert found.num_source == 3
    assert 0 < len(found.common) <= 3
    report = objective.report()
    assert report.facts["source_categories"] == 3
    assert report.facts["common_fraction"] > 0
    assert all(picture.ndim == 3 for picture in report.pictures.values())
    assert any(title.startswith("category 0 (") for title in report.pictures)


def test_the_predictor_alone_is_trained_and_the_segmenter_stays(system: Any) -> None:
    weighing = WordWeighingConfig(segmenter=system.config).build()
    objective = WordDistillationConfig().build(weighing, VOCABULARY).train()
    assert not weighing.segmenter.training
    terms = objective(SOURCE, 0)
    assert terms["words"].isfinite()
    assert terms["words"] > 0
    assert still(objective, terms) == []
    assert {name.split(".")[1] for name, each in objective.named_parameters() if each.requires_grad} == {"predictor"}
    with pytest.raises(InputError, match="learns from masks, but this batch has none"):
        objective(TARGET, 0)


def test_the_classifier_learns_all_categories_of_an_image(tmp_path: Path) -> None:
    structure().save(tmp_path / "semantic")
    torch.manual_seed(0)
    objective = built(CategoryLabelsConfig(), CLASSIFIER.build(), tmp_path)
    objective.prepare(DOMAINS)
    # The last image has the fifth and the sixth expression, of the second and the fourth category.
    assert objective.labels[objective.rows(keys(TARGET))[-1]].tolist() == [False, True, True]
    assert torch.equal(objective.system.head.bias[:3], log_odds(objective.labels))
    assert not objective.system.head.bias[3:].any()
    terms = objective(PAIR, 0)
    assert terms["categories"].isfinite()
    assert [name for name in still(objective, terms) if "head" in name] == []
    few = replace(CLASSIFIER, most=2).build()
    with pytest.raises(InputError, match="3 categories, but the classifier 2 outputs"):
        built(CategoryLabelsConfig(), few, tmp_path).prepare(DOMAINS)


@pytest.mark.parametrize("kind", ["boundary-walk", "feature-walk"])
def test_affinities_are_learned_from_the_labels_of_each_image(kind: AffinityKind, tmp_path: Path) -> None:
    structure().save(tmp_path / "semantic")
    torch.manual_seed(0)
    network = AffinityConfig(classifier=CLASSIFIER, kind=kind).build()
    objective = built(AffinityLossConfig(scales=(1.0,)), network, tmp_path)
    objective.prepare(DOMAINS)
    assert len(list((tmp_path / "own/affinity_labels").rglob("*.png"))) == 5
    assert objective.training
    assert not network.classifier.training
    terms = objective(PAIR, 0)
    assert terms["affinity"].isfinite()
    assert terms["affinity"] > 0
    assert still(objective, terms) == []
    assert {name.split(".")[1] for name, each in objective.named_parameters() if each.requires_grad} == {"head"}


@pytest.mark.parametrize("kind", ["boundary-walk", "feature-walk"])
def test_stage_3_refines_its_masks_with_the_affinities_of_an_earlier_run(kind: AffinityKind, tmp_path: Path) -> None:
    torch.manual_seed(0)
    store(AffinityConfig(classifier=CLASSIFIER, kind=kind).build().head, tmp_path / "affinity", "head.")
    refined = replace(DUAL, activation=replace(DUAL.activation, refinement=kind, doublings=2))
    objective = dual(TINY["sda"].build(), tmp_path, refined)
    assert len(list((tmp_path / "own/semantic_masks").rglob("*.png"))) == 5
    assert all(term.isfinite() for term in objective(PAIR, 0).values())


def keys(batch: Batch) -> torch.Tensor:
    from deixis.adapt.sda.structure import image_keys

    return image_keys(batch)


@pytest.mark.parametrize(
    ("change", "terms"),
    [
        ({"contrast_weight": 0.0}, {"mask", "auxiliary", "relation_source", "relation_target"}),  # CSM + RRB
        ({"is_collaborative": False, "relation_weight": 0.0}, {"mask", "contrast"}),  # CSM + CFB
        ({"alignment": "cosine"}, None),
        ({"memory": 0}, None),
        ({"is_collaborative": False}, {"mask", "contrast", "relation_source", "relation_target"}),
        ({"relation_weight": 0.0}, {"mask", "auxiliary", "contrast"}),
        ({"is_reciprocal": False}, None),
        ({"several": "sum-in-log", "form": "literal"}, None),
        ({"activation": replace(DUAL.activation, refinement="none")}, None),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),  # the same in every process
)
def test_the_rows_of_the_ablations_have_finite_terms(
    change: dict[str, Any], terms: set[str] | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    objective = dual(TINY["sda"].build(), tmp_path, replace(DUAL, **change))
    found = objective(PAIR, 0)
    assert found.keys() == terms or terms is None
    assert all(term.isfinite() for term in found.values())
    objective.after_step(0)
    assert objective(PAIR, 1)["mask"].isfinite()


@pytest.mark.parametrize(
    "content",
    [
        ContentOptions(kind="words"),
        ContentOptions(kind="visual"),
        ContentOptions(has_predictor=False),
        ContentOptions(features="query", has_predictor=False),
    ],
    ids=str,
)
def test_the_rows_of_table_4_and_7_find_categories_without_a_predictor(content: ContentOptions, tmp_path: Path) -> None:
    torch.manual_seed(0)
    no_boundary = replace(SEMANTIC.categories, boundary=None)
    objective = built(replace(SEMANTIC, content=content, categories=no_boundary), TINY["sda"].build(), tmp_path)
    objective.prepare(DOMAINS)
    assert objective.train()(PAIR, 0)["semantic"].isfinite() or content.needs_predictor


def test_without_semantic_modelling_there_is_one_category(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = replace(SEMANTIC, categories=CategoryOptions(is_single=True), weight=0.0)
    objective = built(config, TINY["sda"].build(), tmp_path)
    objective.prepare(DOMAINS)
    found = SemanticStructure.load(tmp_path / "own")
    assert (found.num_source, found.num_new, found.common) == (1, 0, (0,))
    assert objective.train()(PAIR, 0).keys() == {"mask"}


def test_a_system_without_a_decoder_is_one_sentence() -> None:
    system = LateFusionConfig(vision=VISION, text=TEXT, width=16).build()
    with pytest.raises(ModelError, match="LateFusion has none that can be replaced"):
        DUAL.build(system, VOCABULARY)


@pytest.mark.parametrize(
    "change",
    [{"contrast_weight": -1.0}, {"low": 0.5, "high": 0.4}, {"memory": -1}, {"decay": 1.0}, {"cells": 0}],
    ids=str,
)
def test_a_wrong_config_is_one_sentence(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        replace(DUAL, **change)
