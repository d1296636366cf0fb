"""The git gate of a bottle: fetches pass, pushes are held, searched and only then passed on."""
