"""From a scene to pixels and masks."""
