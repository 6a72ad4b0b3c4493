"""The decisions, pure: no I/O, clock or randomness; time and settings are arguments.

One folder a kind: `observed.py` (what is looked at), `policies.py` (the ordered verdicts),
`resources.py` (makers of children), `names.py`, `status.py`, `decide.py`.
"""
