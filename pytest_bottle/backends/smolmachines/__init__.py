"""The smolmachines backend: microVMs of the smolvm engine, without a network."""
