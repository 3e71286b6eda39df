"""What runs an artifact on this host, one runtime a module."""
