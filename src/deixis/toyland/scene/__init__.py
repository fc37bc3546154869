"""What a scene holds: kinds of things, sampled scenes, domains, and what is visible of them."""
