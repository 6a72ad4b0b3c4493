"""The command-line interface: `modelyard`, also as `kubectl modelyard`."""
