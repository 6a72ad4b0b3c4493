"""How a Dataset is resolved to an immutable version."""
