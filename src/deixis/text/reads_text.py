"""What the configs of systems say about the sentences that they read: it is their text encoder's."""

from typing import Any

from ..records import Config


class ReadsText(Config):
    """A config whose field `text` is that of the text encoder."""

    text: Any

    @property
    def tokenizer(self) -> str:
        """The kind of tokens: `wordpiece`, `words` or `clip`."""
        return self.text.tokenizer

    @property
    def vocabulary_size(self) -> int:
        return self.text.vocabulary

    @property
    def longest_sentence(self) -> int:
        """In tokens."""
        return self.text.longest_sentence
