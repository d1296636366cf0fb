"""Process sandboxes by bubblewrap."""
