"""How many servers of a fleet must drift at once before it means something.

Each server's charts raise a false alarm once per `run_length`, and each alarm holds for `hold`. So
with nothing wrong, about N · hold / run_length servers drift at any time: 10 % of a fleet after 9.5
days, if an alarm never ended. The fleet drifts when at least c servers drift at once.

The number M of servers that drift is Poisson with mean m = N · hold / run_length if servers are
independent. It crosses c upwards when a server starts to drift while c - 1 others do, so the rate
of false alarms of the fleet is

    nu(c) = (N / run_length) · P(M = c - 1)

and c is the smallest number above m with nu(c) ≤ 1 / fleet_run_length. Servers are not
independent: weather, seasons and holidays reach many at once. Their common rate is taken as
gamma-distributed with a coefficient of variation of 0.5, which makes M negative binomial with shape
r = 1 / CV². Of 5,000 servers, 87 must drift at once if independent, and 189 with common causes.

Pure Python: the operator's image has neither NumPy nor SciPy. Which servers drift:
modelyard/drift; the condition: core/deployment.
"""

from __future__ import annotations

import math
from functools import lru_cache

COMMON_CAUSES = 0.5
"""Coefficient of variation of the rate that all servers share."""
DAY = 86_400.0


def expected(servers: int, hold: float, run_length: float) -> float:
    """Mean number of servers that drift at a time with nothing wrong; times in one unit."""
    return servers * hold / run_length


def probability(count: int, mean: float, variation: float = COMMON_CAUSES) -> float:
    """Probability that exactly `count` servers drift: negative binomial with that mean and shape
    1 / variation², Poisson for variation 0."""
    if mean <= 0:
        return float(count == 0)
    if variation <= 0:
        return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
    shape = 1 / variation**2
    return math.exp(
        math.lgamma(count + shape)
        - math.lgamma(shape)
        - math.lgamma(count + 1)
        + shape * math.log(shape / (shape + mean))
        + count * math.log(mean / (shape + mean))
    )


def false_alarm_rate(
    count: int, servers: int, hold: float, run_length: float, variation: float = COMMON_CAUSES
) -> float:
    """nu(count): how often per unit of time the number of drifting servers reaches `count` with
    nothing wrong."""
    mean = expected(servers, hold, run_length)
    return servers / run_length * probability(count - 1, mean, variation)


@lru_cache(maxsize=4096)
def threshold(
    servers: int,
    *,
    hold: float = DAY,
    run_length: float = 90 * DAY,
    fleet_run_length: float = 365 * DAY,
    min_share: float = 0.0,
    variation: float = COMMON_CAUSES,
) -> int:
    """c: how many of `servers` must drift at once; at least `min_share` of them, and at least 1.

    May be larger than `servers`: so few cannot show a fleet's drift at the declared rate, and only
    their own alarms count. All times are in one unit.
    """
    if servers < 1:
        return 1
    bound = 1 / fleet_run_length
    count = math.floor(expected(servers, hold, run_length)) + 1
    while false_alarm_rate(count, servers, hold, run_length, variation) > bound:
        count += 1
    return max(count, math.ceil(min_share * servers), 1)
