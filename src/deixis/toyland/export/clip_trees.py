"""Clips of Toyland in the official layouts of A2D-Sentences, J-HMDB-Sentences and Refer-YouTube-VOS."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from ...data.video_writer import video_writer
from ...errors import InputError
from ...files import complete_or_absent
from ...records import Sample
from ..motion.clip import RATE, DrawnClip
from ..scene.kinds import KINDS
from ..world import Toyland
from .trees import by_object

Progress = Callable[[str, int, int], None]  # the split, the number of clips done, the number of all clips

# A2D's numbers: an actor's look-alike and its action, as actor times 10 plus action.
ACTORS = {"adult": 1, "baby": 2, "ball": 3, "bird": 4, "car": 5, "cat": 6, "dog": 7}
ACTIONS = {
    **{"crawling": 2, "flying": 4, "jumping": 5, "rolling": 6, "running": 7, "walking": 8, "none": 9},
    **{"driving": 7, "swimming": 9, "sailing": 9, "moving": 9},
}
PEOPLE = ("adult", "baby")
JHMDB_LIST = "jhmdb_sentences_samples_metadata.json"
STEP = 5  # Refer-YouTube-VOS shows every fifth frame


@dataclass(frozen=True, kw_only=True)
class ClipTree:
    """What to write: how many clips of each split, and how they look."""

    clips: Mapping[str, int] = field(default_factory=lambda: {"train": 8, "val": 4})
    subset: str = "toyland-g"
    style: str = "painted"
    content: str = "everything"
    size: int = 256
    num_frames: int = 16
    labelled_frames: int = 3
    sentences_per_object: int = 2
    objects_per_scene: int | None = None

    def world(self, split: str, sentences_per_object: int | None = None, labelled_frames: int | None = None) -> Toyland:
        """The clips of a split; there are ten times as many, for layouts that cannot hold some."""
        return Toyland(
            split=split,
            subset=self.subset,
            num_scenes=10 * self.clips[split],
            style=self.style,
            content=self.content,
            size=self.size,
            sentences_per_object=sentences_per_object or self.sentences_per_object,
            objects_per_scene=self.objects_per_scene,
            num_frames=self.num_frames,
            labelled_frames=labelled_frames or self.labelled_frames,
        )


def write_a2d(root: Path, tree: ClipTree | None = None, progress: Progress | None = None) -> None:
    """A2D-Sentences: one sentence for each of A2D's seven actors that a clip shows, masks on its labelled frames.

    `val` is written as A2D's `test`. The tree appears when it is complete; raises InputError if the folder is not
    empty.
    """
    tree = ClipTree() if tree is None else tree
    with complete_or_absent(root) as folder:
        release, texts = folder / "Release", folder / "text_annotations"
        (release / "clips320H").mkdir(parents=True)
        texts.mkdir()
        videos, rows = [], ["video_id,instance_id,query"]
        for split, world, clip, samples in _clips(tree, ACTORS.__contains__, progress, sentences=1):
            video = f"toyland{clip.seed:010d}"
            _write_video(release / "clips320H" / f"{video}.mp4", clip)
            chosen = by_object(samples)
            frames = [sample.frame for sample in chosen[0]]
            for frame in frames:
                _write_instances(texts / "a2d_annotation_with_instances" / video, clip, frame, chosen)
            rows += [f"{video},{_thing(one[0])},{one[0].expression}" for one in chosen]
            thing = clip.scene().things[_thing(chosen[0][0])]
            code = 10 * ACTORS[thing.kind] + ACTIONS[chosen[0][0].traits["action"]]
            facts = (video, code, 0, clip.num_frames, world.size, world.size, clip.num_frames, len(frames))
            videos.append(",".join(map(str, (*facts, 0 if split == "train" else 1))))
        (release / "videoset.csv").write_text("\n".join(videos) + "\n", encoding="ascii")
        (texts / "a2d_annotation.txt").write_text("\n".join(rows) + "\n", encoding="ascii")
        (texts / "a2d_missed_videos.txt").write_text("", encoding="ascii")


def write_jhmdb(root: Path, tree: ClipTree | None = None, progress: Progress | None = None) -> None:
    """J-HMDB-Sentences: one person and one sentence for each clip, masks of all frames, three frames listed.

    There is one split, `test`: the clips of the tree's `val`.
    """
    tree = ClipTree() if tree is None else tree
    scipy = _imported("scipy.io", root)
    tree = ClipTree(**{**vars(tree), "clips": {"val": tree.clips["val"]}})
    with complete_or_absent(root) as folder:
        listed, rows = [], ["video_id,query"]
        for _, _, clip, samples in _clips(
            tree, lambda kind: kind in ("adult", "baby"), progress, sentences=1, frames=3
        ):
            person = by_object(samples)[0]
            action, video = person[0].traits["action"], f"toyland_{clip.seed}"
            place = f"{action}/{video}"
            (folder / "Rename_Images" / place).mkdir(parents=True)
            (folder / "puppet_mask" / place).mkdir(parents=True)
            for number, pixels in enumerate(clip.read(), 1):
                Image.fromarray(pixels).save(folder / "Rename_Images" / place / f"{number:05d}.png")
            found = [clip.instances(frame) == _thing(person[0]) for frame in range(clip.num_frames)]
            part_mask = np.stack(found, axis=-1).astype(np.uint8)
            scipy.savemat(folder / "puppet_mask" / place / "puppet_mask.mat", {"part_mask": part_mask})
            rows.append(f"{video},{person[0].expression}")
            for sample in person:
                image = f"./jhmdb_sentences/Rename_Images/{place}/{sample.frame + 1:05d}.png"
                masks_at = f"./jhmdb_sentences/puppet_mask/{place}/puppet_mask.mat"
                listed.append([video, image, masks_at, clip.num_frames, sample.expression])
        (folder / "jhmdb_annotation.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
        (folder / JHMDB_LIST).write_text(json.dumps(listed), encoding="utf-8")


def write_refer_youtube_vos(root: Path, tree: ClipTree | None = None, progress: Progress | None = None) -> None:
    """Refer-YouTube-VOS: any kind, all frames; `val` is written as `valid`, without masks and objects, as published."""
    tree = ClipTree() if tree is None else tree
    with complete_or_absent(root) as folder:
        texts: dict[str, dict[str, Any]] = {"train": {}, "valid": {}}
        objects: dict[str, Any] = {}
        for split, _, clip, samples in _clips(tree, KINDS.__contains__, progress):
            name, video = ("train" if split == "train" else "valid"), f"toyland{clip.seed:010d}"
            frames = [f"{STEP * number:05d}" for number in range(clip.num_frames)]
            chosen = [by_sentence[0] for one in by_object(samples) for by_sentence in _by_sentence(one)]
            numbers = {thing: at for at, thing in enumerate(dict.fromkeys(map(_thing, chosen)), 1)}
            _write_frames(folder / name, video, frames, clip, numbers if name == "train" else {})
            texts[name][video] = {"expressions": {}, "frames": frames}
            for at, sample in enumerate(chosen):
                record = {"exp": sample.expression}
                if name == "train":
                    record["obj_id"] = str(numbers[_thing(sample)])
                texts[name][video]["expressions"][str(at)] = record
            if name == "train":
                objects[video] = {"objects": _objects(clip, numbers, frames)}
        for name, videos in texts.items():
            if videos:
                place = folder / "meta_expressions" / name
                place.mkdir(parents=True)
                (place / "meta_expressions.json").write_text(json.dumps({"videos": videos}), encoding="utf-8")
        if objects:
            (folder / "train" / "meta.json").write_text(json.dumps({"videos": objects}), encoding="utf-8")


def _clips(
    tree: ClipTree,
    is_wanted: Callable[[str], bool],
    progress: Progress | None,
    sentences: int | None = None,
    frames: int | None = None,
) -> Iterator[tuple[str, Toyland, DrawnClip, list[Sample]]]:
    """Each split's clips that have a sentence about a wanted kind, with the Samples about these kinds."""
    for split, count in tree.clips.items():
        world, done = tree.world(split, sentences, frames), 0
        for position in range(world.num_scenes):
            samples = [sample for sample in world.scene(position) if is_wanted(sample.traits["kind"])]
            if not samples or done == count:
                continue
            done += 1
            yield split, world, world.clip(position), samples
            if progress is not None:
                progress(split, done, count)
            if done == count:
                break
        if done < count:
            raise InputError(
                f"Only {done} of {world.num_scenes} clips of {split} show what the layout holds; {count} are needed: "
                "choose another content, such as everything."
            )


def _thing(sample: Sample) -> int:
    return int(sample.traits["targets"][0])


def _write_video(path: Path, clip: DrawnClip) -> None:
    with video_writer(path) as video:
        for number in range(clip.num_frames):
            video.add(clip.frame(number).pixels, number / RATE)


def _by_sentence(samples: Sequence[Sample]) -> list[list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.expression, []).append(sample)
    return list(found.values())


def _write_instances(folder: Path, clip: DrawnClip, frame: int, objects: Sequence[Sequence[Sample]]) -> None:
    """One annotated frame: the visible instances, with axes as MATLAB's HDF5 has them, frames counted from 1."""
    h5py = _imported("h5py", folder)
    instances = clip.instances(frame)
    visible = [thing for thing in (_thing(one[0]) for one in objects) if (instances == thing).any()]
    if not visible:
        return
    found = np.stack([instances == thing for thing in visible])
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / f"{frame + 1:05d}.h5", "w") as file:
        file["instance"] = np.array(visible)
        reversed_axes = found.transpose(0, 2, 1).astype(np.uint8)
        file["reMask"] = reversed_axes[0] if len(visible) == 1 else reversed_axes
        file["reBBox"] = np.array([_box(mask) for mask in found], dtype=np.float64).T
        file["reS_id"] = np.where(found.any(0), found.argmax(0) + 1, 0).T.astype(np.uint8)


def _box(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom, inclusive and counted from 1."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]) + 1, int(rows[0]) + 1, int(columns[-1]) + 1, int(rows[-1]) + 1


def _write_frames(folder: Path, video: str, names: Sequence[str], clip: DrawnClip, numbers: Mapping[int, int]) -> None:
    """The frames, and a palette image of the objects' numbers for each where there are any."""
    (folder / "JPEGImages" / video).mkdir(parents=True)
    if numbers:
        (folder / "Annotations" / video).mkdir(parents=True)
    for number, name in enumerate(names):
        Image.fromarray(clip.read([number])[0]).save(folder / "JPEGImages" / video / f"{name}.jpg", quality=95)
        if numbers:
            of_thing = np.zeros(256, dtype=np.uint8)
            for thing, index in numbers.items():
                of_thing[thing] = index
            image = Image.fromarray(of_thing[clip.instances(number)])
            image.putpalette(
                [channel for value in range(256) for channel in (37 * value % 256, 91 * value % 256, value)]
            )
            image.save(folder / "Annotations" / video / f"{name}.png")


def _objects(clip: DrawnClip, numbers: Mapping[int, int], names: Sequence[str]) -> dict[str, Any]:
    shown = [set(np.unique(clip.instances(frame)).tolist()) for frame in range(clip.num_frames)]
    return {
        str(index): {
            "category": clip.scene().things[thing].kind,
            "frames": [name for name, things in zip(names, shown, strict=True) if thing in things],
        }
        for thing, index in numbers.items()
    }


def _imported(name: str, path: Path) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise InputError(f"{path} needs {name} to be written: `pip install deixis[video]`.") from None
