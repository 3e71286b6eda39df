"""Trained PyTorch checkpoints become verified Core ML and ONNX bundles for iPhone, on Linux or macOS."""

__version__ = "0.1.0"
__all__ = ["__version__"]
