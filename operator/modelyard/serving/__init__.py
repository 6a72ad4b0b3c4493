"""What Triton serves and how versions change under it; nothing here talks to Kubernetes.

- `names.py`: what Triton's models are called
- `config.py`: their configurations, as Triton's own protobuf messages
- `repository.py`: the model repository on disk
- `triton.py`: control of a running Triton over gRPC
- `switch.py`: replaces the version that answers by another one, without a gap
- `models/`: the Python code of the pipeline's first and last step; it runs inside Triton
"""
