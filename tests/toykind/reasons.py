"""Reasons of a Survey, as `core/survey/reasons.py` would be."""

MEASURING = "Measuring"
