"""The whole pipeline in one step."""
