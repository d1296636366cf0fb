"""The way of a bottle: prepare, launch, provision, gather evidence, tear down."""
