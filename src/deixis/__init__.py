"""deixis segments what a sentence points at, in an image or a video."""
