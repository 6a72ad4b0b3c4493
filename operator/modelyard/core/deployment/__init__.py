"""How a Modelyard Deployment serves a model line and moves its servers to new versions."""
