"""What a run remembers on disk, so that nothing of it is ever left behind."""
