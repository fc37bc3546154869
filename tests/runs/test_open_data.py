"""The readers of a run: what they hold, and what is refused before the first step."""

import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.cli import main
from deixis.data.batches import TrainBatches
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.records import Reader
from deixis.runs.data import StoredData, ToylandData
from deixis.runs.open_data import open_data
from deixis.text.tokenizer import Tokenizer
from deixis.toyland.export.grefcoco import write_grefcoco
from deixis.toyland.export.phrasecut import write_phrasecut
from deixis.toyland.export.trees import Tree
from deixis.toyland.packed import PackedToyland
from deixis.toyland.render.drawing import draw
from deixis.toyland.scene.domains import DOMAINS
from deixis.toyland.scene.sampling import sample_scene
from deixis.zoo.loading import load

SmallTree = runpy.run_path(str(Path(__file__).parents[1] / "data" / "readers" / "test_refcoco.py"))["SmallTree"]
SMALL = ToylandData(num_scenes=6, validation_scenes=1, size=48, packed=None)


def fraction_of_an_epoch(reader: Reader) -> float:
    """Of the objects, which an epoch draws one sentence each of."""
    objects = {(ids.image, ids.object) for ids in reader.ids}
    return sum(name.startswith("none") for _, name in objects) / len(objects)


def test_one_and_a_half_sentences_about_nothing_make_about_a_sixth_of_an_epoch() -> None:
    training, held = open_data(replace(SMALL, subsets=("toyland+",), sentences_per_object=1, no_target=1.5))
    assert 0.12 < fraction_of_an_epoch(training) < 0.2
    assert fraction_of_an_epoch(held) == 0.0


def test_rare_sentences_are_in_the_training_split_alone() -> None:
    def count(reader: Reader) -> int:
        return sum("ordinal" in reader[at].traits["features"] for at in range(len(reader)))

    options = replace(SMALL, num_scenes=2, validation_scenes=2, subsets=("toyland",))
    often, held = open_data(replace(options, rare=1.0))
    plain, same = open_data(options)
    assert count(often) > 2 * count(plain)
    assert held.ids == same.ids
    with pytest.raises(InputError, match="omit no_target, exchanged and rare"):
        replace(options, rare=1.0, num_frames=8)


def test_batches_hold_the_empty_masks_of_what_is_not_there() -> None:
    training, _ = open_data(replace(SMALL, num_scenes=3, subsets=("toyland",), no_target=2.0))
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    stream = TrainBatches(
        reader=training, tokenizer=tokenizer, preprocess=Preprocess(image_size=48, max_tokens=8), batch_size=4
    )
    empty = {
        ids.sentence
        for batch in stream.stream(0, stream.steps_per_epoch)
        for ids, mask in zip(batch.ids, batch.masks if batch.masks is not None else (), strict=True)
        if not mask.any()
    }
    absent = {ids.sentence for ids in training.ids if ids.object.startswith("none")}
    assert len(empty & absent) > 2
    assert all(
        masks.area(training[place].mask) == 0 for place, ids in enumerate(training.ids) if ids.sentence in absent
    )  # type: ignore[arg-type]


def forget(packed: Path, field: str) -> None:
    """Remove what older folders do not store."""
    told = packed / "packed.json"
    described = json.loads(told.read_text())
    del described[field]
    told.write_text(json.dumps(described))


def test_a_packed_folder_that_was_drawn_otherwise_is_refused(tmp_path: Path) -> None:
    plain = replace(SMALL, num_scenes=2, subsets=("toyland",), packed=str(tmp_path), packers=1)
    first, _ = open_data(plain)
    assert open_data(plain)[0].ids == first.ids
    with pytest.raises(InputError, match=r"drawn with no_target=0, but the run asks for no_target=1\.5; give another"):
        open_data(replace(plain, no_target=1.5))
    forget(tmp_path / "train", "expression_options")
    assert open_data(plain)[0].ids == first.ids
    with pytest.raises(InputError, match="drawn with no_target=0, but the run asks for no_target=1"):
        open_data(replace(plain, no_target=1.0))


def test_a_packed_folder_keeps_what_means_nothing(tmp_path: Path) -> None:
    data = replace(SMALL, num_scenes=3, subsets=("toyland",), no_target=1.0, packed=str(tmp_path), packers=1)
    training, _ = open_data(data)
    nothing = [training[place] for place, ids in enumerate(training.ids) if ids.object == "none"]
    assert nothing
    assert all(sample.traits["targets"] == [] for sample in nothing)
    with pytest.raises(InputError, match="drawn with no_target=1, but the run asks for no_target=0"):
        open_data(replace(data, no_target=0.0))


def test_a_packed_folder_of_another_size_or_with_other_sentences_is_refused(tmp_path: Path) -> None:
    plain = replace(SMALL, num_scenes=2, subsets=("toyland",), packed=str(tmp_path), packers=1)
    first, _ = open_data(plain)
    with pytest.raises(
        InputError, match=r"train was drawn with size=48, but the run asks for size=32; give another --data"
    ):
        open_data(replace(plain, size=32))
    both = "drawn with size=48, sentences_per_object=3, but the run asks for size=32, sentences_per_object=1"
    with pytest.raises(InputError, match=both):
        open_data(replace(plain, size=32, sentences_per_object=1))
    forget(tmp_path / "train", "sentences_per_object")
    assert open_data(plain)[0].ids == first.ids
    with pytest.raises(InputError, match="train was drawn with size=48, but the run asks for size=32"):
        open_data(replace(plain, size=32, sentences_per_object=1))


@pytest.mark.parametrize("name", ["painted-park", "night-town+", "sketch-street-g"])
def test_a_domains_scenes_are_what_its_name_says(tmp_path: Path, name: str) -> None:
    domain = DOMAINS[name]
    data = replace(SMALL, num_scenes=4, packed=str(tmp_path)).of_domain(domain)
    training, held = open_data(data)
    assert data.folder == str(tmp_path / f"{domain.style.name}-{domain.content.name}-{domain.subset}")
    assert isinstance(training, PackedToyland)
    assert (training.style, training.content) == (domain.style.name, domain.content.name)
    shown = {thing["kind"] for scene in range(4) for thing in training.things(scene)}
    assert shown <= {kind for kind, weight in domain.content.weights.items() if weight > 0}
    assert {reader[place].dataset for reader in (training, held) for place in range(3)} == {domain.subset}
    drawn = draw(sample_scene(0, domain.content), domain.style, 48)
    assert np.array_equal(training.pixels(0), drawn.pixels)


def test_scenes_are_skipped_so_that_domains_share_none(tmp_path: Path) -> None:
    data = replace(SMALL, num_scenes=2, subsets=("toyland",), packed=str(tmp_path), packers=1)
    later = replace(data, skip_scenes=1000)
    readers, others = open_data(data), open_data(later)
    images = [{ids.image for ids in reader.ids} for reader in (*readers, *others)]
    assert images == [{"0", "1"}, {"1000000000"}, {"1000", "1001"}, {"1000001000"}]
    assert data.folder == str(tmp_path)
    assert later.folder == str(tmp_path / "painted-everything-toyland-1000")


def test_a_folder_of_another_domain_is_refused(tmp_path: Path) -> None:
    data = replace(SMALL, num_scenes=1, subsets=("toyland",), packed=str(tmp_path), packers=1)
    open_data(data)
    night = replace(data, style="night")
    (tmp_path / "night-everything-toyland").symlink_to(tmp_path)
    with pytest.raises(InputError, match="drawn with style=painted, but the run asks for style=night; give another"):
        open_data(night)


def test_data_of_no_domain_are_refused() -> None:
    with pytest.raises(InputError, match=r"Toyland has no style 'nigt'\. Did you mean 'night'"):
        replace(SMALL, style="nigt")
    with pytest.raises(InputError, match="Toyland has no content 'sea'"):
        replace(SMALL, content="sea")
    with pytest.raises(InputError, match=r"scenes 200,000,000 to 200,000,006 are asked for; a split has those from 0"):
        replace(SMALL, skip_scenes=200_000_000)


def own(folder: Path, **files: list[dict[str, Any]]) -> Path:
    """A folder of somebody's: photos, and lines about them, a file a split."""
    (folder / "images").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (8, 6), (60 * number, 90, 10)).save(folder / "images" / f"{number}.png")
    for split, lines in files.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def line(photo: int, **more: Any) -> dict[str, Any]:
    return {"image": f"images/{photo}.png", "expression": "the cup", "mask": [[1, 1, 5, 1, 5, 4, 1, 4]], **more}


def test_anybodys_folder_is_trained_on(tmp_path: Path) -> None:
    data = StoredData(root=str(own(tmp_path / "mine", train=[line(0), line(1)], val=[line(2)])))
    training, held = open_data(data)
    assert (len(training), len(held)) == (2, 1)
    assert masks.area(training[0].mask) == 12
    with pytest.raises(InputError, match="has no split 'test'; the splits there are: train, val"):
        open_data(replace(data, validation_split="test"))
    with pytest.raises(InputError, match=r"There is no data set 'foldre'\. Did you mean 'folder'"):
        open_data(replace(data, dataset="foldre"))


def test_sentences_of_refcoco_are_raw_or_cleaned(tmp_path: Path) -> None:
    data = StoredData(root=str(SmallTree(tmp_path).write()), validation_split="testA", labels="none")
    for sentences, expected in (("raw", ["Left cup", "the cup"]), ("sent", ["left cup", "the cup"])):
        training, _ = open_data(replace(data, sentences=sentences))
        assert [training[position].expression for position in range(len(training))] == expected


def test_a_folder_without_anything_held_out_is_told_how_to_hold_it_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has only the split 'train'; .* write train\.jsonl and val\.jsonl"):
        open_data(StoredData(root=str(own(tmp_path / "mine", train=[line(0)]))))


def test_what_cannot_be_learnt_from_is_told_before_the_first_step(tmp_path: Path) -> None:
    weak = own(tmp_path / "weak", train=[line(0), line(1, mask=None)], val=[line(2)])
    with pytest.raises(InputError, match="Sentence 'train:2' of weak has no mask, and needs one here"):
        open_data(StoredData(root=str(weak)))
    broken = own(tmp_path / "broken", train=[line(0, mask={"size": [5, 5], "counts": "0"})], val=[line(2)])
    with pytest.raises(InputError, match=r"line 1: The mask is 5x5 pixels .* but its image is 6x8"):
        open_data(StoredData(root=str(broken)))


def test_what_is_broken_is_left_out_and_told_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line(0), line(1, mask=None), line(2), {"image": "images/0.png"}]
    root = own(tmp_path / "mine", train=lines, val=[line(0)])
    (root / "images" / "2.png").write_bytes((root / "images" / "2.png").read_bytes()[:50])
    training, held = open_data(StoredData(root=str(root), skip_broken=True))
    assert [ids.sentence for ids in training.ids] == ["train:1"]
    assert len(held) == 1
    told = capsys.readouterr().err
    assert "3 broken records were left out" in told
    assert "2.png" in told
    (root / "images" / "0.png").unlink()
    with pytest.raises(InputError, match=r"has nothing to train on, or .*; all records are broken: .*line 4 has no"):
        open_data(StoredData(root=str(root), skip_broken=True))


@pytest.mark.parametrize("write", [write_grefcoco, write_phrasecut])
def test_published_layouts_beside_refcocos_are_trained_on(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path / "tree", Tree(scenes={"train": 2, "val": 1}, size=48, objects_per_scene=2))
    training, held = open_data(StoredData(root=str(tmp_path / "tree")))
    assert {sample.split for sample in (training[0], held[0])} == {"train", "val"}
    tokenizer, preprocess = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"]), Preprocess(image_size=48, max_tokens=8)
    stream = TrainBatches(reader=training, tokenizer=tokenizer, preprocess=preprocess, batch_size=4)
    masks_of = next(stream.stream(0, 1)).masks
    assert masks_of is not None
    assert masks_of.any()


def test_training_drops_what_overlaps_as_published_unless_told_otherwise(tmp_path: Path) -> None:
    root = SmallTree(tmp_path).write()
    data = StoredData(root=str(root), dataset="refcoco", train_split="testA", validation_split="testB")
    areas = [open_data(each)[0][0].traits["area"] for each in (data, replace(data, overlaps="union"))]
    assert areas == [96, 112]


@pytest.mark.usefixtures("one_thread")
def test_the_small_recipe_trains_on_somebodys_folder_and_answers(tmp_path: Path) -> None:
    root = own(tmp_path / "mine", train=[line(0), line(1), line(2)], val=[line(2)])
    options = ["--preprocess.image-size", "64", "--schedule.steps", "2", "--schedule.batch-size", "2", "--workers", "0"]
    run = tmp_path / "run"
    assert main(["train", "vega-small", "--data.root", str(root), *options, "--quiet", "--out", str(run)]) == 0
    bundled, trained = (load(model, device="cpu").system.state_dict() for model in ("bundled", run))
    name = "fusion.vision.stages.0.0.mlp.0.weight"
    assert 0 < (trained[name] - bundled[name]).abs().max() < 0.05
    assert load(run, device="cpu")(root / "images" / "0.png", "the cup").mask.shape == (6, 8)


@pytest.mark.parametrize("limit", [-1, 0])
@pytest.mark.parametrize("data", [ToylandData, StoredData])
def test_validating_on_nothing_is_refused(data: type[ToylandData | StoredData], limit: int) -> None:
    with pytest.raises(InputError, match=f"A limit of {limit} expressions"):
        data(validation_limit=limit)


def test_an_impossible_number_of_sentences_about_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"'no_target' is -0\.5; expected 0 to 20"):
        ToylandData(no_target=-0.5)


def test_classes_are_read_from_the_same_packed_scenes_as_sentences(tmp_path: Path) -> None:
    data = replace(SMALL, num_scenes=3, subsets=("toyland",), packed=str(tmp_path), packers=1)
    sentences, _ = open_data(data)
    training, validation = open_data(replace(data, labels="classes"))
    assert (len(training), len(validation)) == (3, 1)
    assert {ids.image for ids in training.ids} == {ids.image for ids in sentences.ids}
    assert training[0].mask is None
    assert set(training[0].targets) == {"kind", "colour", "size", "pattern"}
    assert training[0].targets["kind"].shape == (48, 48)
    with pytest.raises(InputError, match=r"read from packed scenes; give --data\.packed a folder"):
        replace(SMALL, labels="classes")


def test_sentences_without_masks_are_training_data_where_no_masks_are_asked_for(tmp_path: Path) -> None:
    root = own(tmp_path / "mine", train=[line(0, mask=None), line(1, mask=None)], val=[line(2, mask=None)])
    training, _ = open_data(StoredData(root=str(root), labels="none"))
    assert [sample.mask for sample in (training[0], training[1])] == [None, None]


def square_elsewhere(folder: Path, outside: Path, key: str = "expression") -> None:
    """Two splits of a record, whose photo is in another folder."""
    folder.mkdir()
    outside.mkdir()
    Image.new("RGB", (8, 6)).save(outside / "photo.png")
    for split in ("train", "val"):
        record = {"image": "photo.png", key: "the block", "mask": [[1, 1, 5, 1, 5, 4, 1, 4]]}
        (folder / f"{split}.jsonl").write_text(json.dumps(record) + "\n")


def test_photos_are_read_from_a_folder_of_their_own_and_sentences_from_a_key_of_ones_own(tmp_path: Path) -> None:
    square_elsewhere(tmp_path / "mine", tmp_path / "photos", key="phrase")
    data = StoredData(root=str(tmp_path / "mine"), text_key="phrase", images=str(tmp_path / "photos"))
    training, validation = open_data(data)
    for reader in (training, validation):
        assert reader[0].expression == "the block"
        assert reader[0].visual.size == (6, 8)
    with pytest.raises(InputError, match="expression"):
        open_data(replace(data, text_key=None))


def test_links_that_leave_the_folder_are_read_where_that_is_allowed_and_the_refusal_says_how(tmp_path: Path) -> None:
    square_elsewhere(tmp_path / "mine", tmp_path / "photos")
    (tmp_path / "mine/photo.png").symlink_to(tmp_path / "photos/photo.png")
    data = StoredData(root=str(tmp_path / "mine"))
    with pytest.raises(InputError, match=r"a link that leaves .*--data\.allow-outside True"):
        open_data(data)
    assert open_data(replace(data, allow_outside=True))[0][0].visual.read().shape == (1, 6, 8, 3)


def test_absolute_paths_are_read_where_that_is_allowed(tmp_path: Path) -> None:
    square_elsewhere(tmp_path / "mine", tmp_path / "photos")
    for file in (tmp_path / "mine").iterdir():
        file.write_text(file.read_text().replace("photo.png", str(tmp_path / "photos/photo.png")))
    data = StoredData(root=str(tmp_path / "mine"))
    with pytest.raises(InputError, match=r"which leaves .*--data\.allow-outside True"):
        open_data(data)
    assert open_data(replace(data, allow_outside=True))[0][0].visual.size == (6, 8)


def test_photos_are_read_as_stored_where_exif_is_ignored(tmp_path: Path) -> None:
    square_elsewhere(tmp_path / "mine", tmp_path / "photos")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "mine/photo.png", exif=turned)
    data = StoredData(root=str(tmp_path / "mine"))
    assert open_data(replace(data, exif="ignore"))[0][0].visual.size == (6, 8)
    assert open_data(data)[0][0].visual.size == (8, 6)


def test_a_fraction_of_the_images_is_held_out_of_training_and_scored(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "data/red.png")
    mask = {"size": [8, 8], "counts": [0, 64]}
    lines = [
        json.dumps(
            {
                "image": "red.png",
                "expression": f"word {at % 2}",
                "mask": mask,
                "ids": {"image": f"image {at // 2}", "object": str(at), "sentence": str(at)},
            }
        )
        for at in range(40)
    ]
    (tmp_path / "data/train.jsonl").write_text("\n".join(lines))
    data = StoredData(root=str(tmp_path / "data"), held_out=0.3, validation_split="held-out")
    training, held = open_data(data)
    images = [{ids.image for ids in reader.ids} for reader in (training, held)]
    assert len(training) + len(held) == 40
    assert not images[0] & images[1]
    assert 2 <= len(images[1]) <= 10
    assert open_data(data)[1].ids == held.ids
    with pytest.raises(InputError, match=r"held_out is 1\.0; expected a fraction"):
        replace(data, held_out=1.0)
