"""What runs inside pods: each workload is a `python -m modelyard.workloads.NAME`.

`runner.py` is the frame around all of them: it reads the run spec, and turns what happens into an
Outcome and an exit code.
"""
