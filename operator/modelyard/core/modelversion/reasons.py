"""Condition types and reasons of a ModelVersion."""

EXPORTED = "Exported"
VALIDATED = "Validated"

EXPORTING = "Exporting"
VALIDATING = "Validating"
GATES_PASSED = "GatesPassed"
GATES_NOT_MET = "GatesNotMet"
SKIPPED = "Skipped"
"""The version says that nothing is to be evaluated: it is Ready, and not validated."""
SOURCE = "source"
"""Name of the weights themselves among the evaluated artifacts."""
