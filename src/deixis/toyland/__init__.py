"""Our own world: scenes drawn by code, expressions by a grammar that knows the scene, masks exact to the pixel."""
