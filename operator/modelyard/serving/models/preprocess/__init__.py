"""The first step in Triton: from an encoded image to the network's input. See model.py."""
