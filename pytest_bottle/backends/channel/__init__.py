"""The exec channel: commands in a guest, over one stream."""
