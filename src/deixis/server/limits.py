"""What one request may cost, and what the server holds at most."""

from dataclasses import dataclass, fields

from ..errors import InputError

MAY_BE_ZERO = {"cache_megabytes", "per_client"}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Checked before anything is decoded or computed; what exceeds them is refused."""

    megabytes: float = 20.0  # of a request's body
    megapixels: float = 40.0  # of an image
    sentences: int = 64  # in a request
    characters: int = 1000  # in a sentence
    frames: int = 48  # of a clip that are asked
    queue: int = 16  # requests that wait for the model
    per_client: int = 0  # of them, those of one address; 0 for no such limit
    seconds: float = 60.0  # from a request's arrival in the queue to its answer
    seconds_to_send: float = 30.0  # for the head of a request, for its body, and for reading an answer
    received_megabytes: float = 256.0  # bodies held at the same time, of all requests
    cache_megabytes: float = 512.0  # encoded images that are kept for further sentences

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name in MAY_BE_ZERO else 1e-6
            if not least <= value < float("inf"):
                raise InputError(f"The limit {field.name} is {value}; expected a positive number.")

    @property
    def bytes(self) -> int:
        return round(self.megabytes * 1e6)

    @property
    def pixels(self) -> int:
        return round(self.megapixels * 1e6)
