"""The person's tool: `modelyard`, also as `kubectl modelyard`."""
