"""Ways to make sandboxes; each knows nothing of the others."""
