"""Whether two sets of numbers agree, and where they first part."""
