"""Exit codes of workload pods, numbered as in BSD's sysexits.h.

A Job's podFailurePolicy reads them: USER_ERROR fails the Job at once, everything else counts
towards backoffLimit and is tried again.
"""

OK = 0
USER_ERROR = 65
"""The user's data or settings are wrong; trying again cannot help (EX_DATAERR)."""
INTERNAL = 70
"""A bug of ours (EX_SOFTWARE)."""
RETRYABLE = 75
"""The store, the network or the node failed; trying again may help (EX_TEMPFAIL)."""
