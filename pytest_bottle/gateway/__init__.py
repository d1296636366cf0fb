"""The door: the one way out of a bottle, served by one process for a whole run."""
