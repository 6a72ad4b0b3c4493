"""How a ModelVersion is exported, evaluated and judged."""
