"""The eager share, on the user's machine: copied before the first job, brought back after the last."""
