"""The benchmark: womm beside the programs that people use today, on this machine, in one run.

Strategy: this machine's speed changes by the minute, so no number is compared with one of another run. Each
round measures every candidate once, the next round in the opposite order. A ratio is that of two neighbours
in one round, and a figure is the median of the rounds with its range. Each round runs a candidate with few
jobs and with many, which separates the start-up from the cost of a job. The median decides on a target.

Rejected: a fixed time per candidate (GNU parallel cannot be stopped without ending jobs), pytest-benchmark
(one process, no pairs), hyperfine (no pairs, no output rates).

Each program that it starts has a session of its own, is ended by its number, and has its home, state and
temporary files in one folder, which is removed at the end. Linux only: figures come from /proc.
"""
