"""The reference runtime: a saved Core ML ML Program, read from disk and run with torch kernels."""
