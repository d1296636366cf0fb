"""Loads the example plugin, as `pip install ./plugin` would through its entry point."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "plugin"))
pytest_plugins = ["bottle_extras"]
