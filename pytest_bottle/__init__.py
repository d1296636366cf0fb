"""Isolated sandboxes for coding agents, as pytest fixtures."""
