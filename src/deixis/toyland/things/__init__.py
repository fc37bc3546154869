"""Every kind of thing and how it is drawn, one file a family."""

from collections.abc import Mapping

from ..pen import Form
from . import animals, food, household, nature, people, shapes, vehicles

FORMS: Mapping[str, Form] = {
    **animals.FORMS,
    **vehicles.FORMS,
    **food.FORMS,
    **household.FORMS,
    **people.FORMS,
    **nature.FORMS,
    **shapes.FORMS,
}
