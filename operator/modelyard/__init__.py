"""Modelyard: from vision data to models that serve on thousands of devices."""

__version__ = "0.1.0"
