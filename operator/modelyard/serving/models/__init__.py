"""Code that runs inside Triton. Each step is one file that imports nothing of ours."""
