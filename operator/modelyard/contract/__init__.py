"""What the operator and its pods hand each other. Pydantic only: every image has it.

The operator writes one run spec (`run.py`), mounted into the pod as `paths.RUN_FILE`; the pod
answers with an `Outcome` (`result.py`) as its termination message and one of the exit codes of
`exitcodes.py`. Trainers and agents also patch the status of their own object.
"""
