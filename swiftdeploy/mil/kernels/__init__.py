"""One function an op, grouped and named as in Apple's MIL op reference."""
