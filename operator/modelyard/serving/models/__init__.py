"""Code that runs inside Triton. Each step is a folder of files that import nothing else of ours."""
