"""How many random examples the property-based tests try, and which."""

from hypothesis import settings
from hypothesis.internal.conjecture import providers

# A change is judged by the same examples wherever its tests run; `make test-random` looks for
# others. About one value in twenty is a constant of the product's modules that are imported by
# then, so that a file run alone tries other examples than within `tests/unit`.
settings.register_profile("suite", derandomize=True, deadline=None, max_examples=150)
settings.register_profile("random", deadline=None, max_examples=3000, print_blob=True)
settings.load_profile("suite")

# Hypothesis mixes the constants of all loaded modules of ours into what it draws: examples would
# depend on which other tests run, and on every number in the product.
assert hasattr(providers, "_get_local_constants"), "Hypothesis has changed: see above"
providers._get_local_constants = lambda: providers._local_constants
