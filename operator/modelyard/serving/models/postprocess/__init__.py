"""The last step in Triton: from the network's output to boxes. See model.py."""
