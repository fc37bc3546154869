"""SaG's entities, as its Figures A1 to A3: `python examples/6_entities.py PICTURE SENTENCE RUN [RUN RUN]`.

A RUN is the folder of a trained SaG, such as `deixis train sag-toyland` writes. `out/entities.png` shows the first one:
the three entities most relevant to the sentence, and all entities, framed in the colour of the Gaussian that each was
drawn from. With several runs, such as one for each kind of slots, `out/slots.png` compares their ten most relevant
entities and their masks.
"""

import sys
from pathlib import Path

import deixis
from deixis import viz


def main(picture: str, sentence: str, *runs: str) -> None:
    found = {run: deixis.load(run)(picture, sentence, explain=True) for run in runs}
    entities = {run: viz.entities_in(one.evidence) for run, one in found.items()}
    if not runs or None in entities.values():
        without = [run for run, one in entities.items() if one is None]
        raise SystemExit(
            f"Give the folders of trained SaGs; these have no entities: {', '.join(without) or 'none given'}"
        )
    out = Path("out")
    out.mkdir(exist_ok=True)
    first = found[runs[0]]
    sheet = viz.explanation(first.image, first.mask, first.probability, first.expression, first.tokens, first.evidence)
    sheet.save(out / "entities.png")
    print(out / "entities.png")
    if len(runs) > 1:
        rows = {run: (found[run].mask, one) for run, one in entities.items() if one is not None}
        viz.entity_comparison(first.image, rows, sentence).save(out / "slots.png")
        print(out / "slots.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
