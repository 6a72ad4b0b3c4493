"""How many random examples the property-based tests try."""

from hypothesis import settings

# A change is judged by the same examples wherever its tests run; `make test-random` looks for
# others. About one value in twenty is a constant of the product's modules that are imported by
# then, so that a file run alone tries other examples than within `tests/unit`.
settings.register_profile("suite", derandomize=True, deadline=None, max_examples=150)
settings.register_profile("random", deadline=None, max_examples=3000, print_blob=True)
settings.load_profile("suite")
