"""A captured program becomes an artifact on disk, one target a module."""
