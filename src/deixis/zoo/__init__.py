"""Models by name: build, load, convert and download."""
