"""Pictures of predictions and their evidence: heat maps, maps for each token, entities, word clouds, t-SNE.

Everything takes arrays and is drawn with Pillow and its built-in font, so that it looks the same on every machine.
"""

from .entities import Entities as Entities
from .entities import all_entities as all_entities
from .entities import entities_in as entities_in
from .entities import entity_comparison as entity_comparison
from .entities import top_entities as top_entities
from .layout import Pixels as Pixels
from .layout import bars as bars
from .layout import stack as stack
from .layout import strip as strip
from .maps import heat as heat
from .maps import highlight as highlight
from .plots import cloud as cloud
from .plots import constellation as constellation
from .plots import reliability as reliability
from .sheet import explanation as explanation
from .sheet import spell as spell
from .side_by_side import side_by_side as side_by_side
from .side_by_side import word_maps as word_maps
from .strips import Painted as Painted
from .strips import StripFrame as StripFrame
from .strips import clip_colours as clip_colours
from .strips import evidence_strip as evidence_strip
from .strips import painted_frame as painted_frame
