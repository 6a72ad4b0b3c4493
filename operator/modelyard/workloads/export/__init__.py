"""Export of weights to what is served: ONNX, or a TensorRT engine for one GPU type."""
