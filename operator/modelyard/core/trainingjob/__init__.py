"""How a TrainingJob becomes a ModelVersion."""
