"""How each kind of thing is drawn, one file per family."""

from collections.abc import Mapping

from ..pen import Draw
from . import animals, food, household, nature, people, shapes, vehicles

DRAWINGS: Mapping[str, Draw] = {
    **animals.DRAWINGS,
    **vehicles.DRAWINGS,
    **food.DRAWINGS,
    **household.DRAWINGS,
    **people.DRAWINGS,
    **nature.DRAWINGS,
    **shapes.DRAWINGS,
}
