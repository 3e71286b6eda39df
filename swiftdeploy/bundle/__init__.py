"""The folder that ships: staged, hashed, canonical, renamed into place, read back with suspicion."""
