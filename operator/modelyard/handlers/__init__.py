"""kopf wiring: watching and the life of the process; a few lines each."""
