"""Condition types and reasons of a Dataset."""

VALID = "Valid"

FETCHING = "Fetching"
RESOLVED = "Resolved"
PROBLEMS_FOUND = "ProblemsFound"
RESULT_LOST = "ResultLost"
