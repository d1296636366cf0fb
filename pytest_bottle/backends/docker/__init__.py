"""The Docker backend: containers, through any engine that speaks Docker's API."""
