"""How each kind of coding agent is run."""
