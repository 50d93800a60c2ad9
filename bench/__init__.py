"""The benchmark: womm beside what people use today, on this machine, in one run.

Strategy: this machine's speed changes by the minute, so nothing is compared with a number of another
run. Each round measures every candidate once, the next round in the opposite order; a ratio is that
of two neighbours in one round, and a figure is the median of the rounds with its range. Start-up is
told apart from the cost of a job by running each candidate twice in a round, with few jobs and with
many. Targets are judged by the median.

Rejected: a fixed time per candidate (GNU parallel cannot be stopped without ending jobs), pytest-benchmark
(one process, no pairs), hyperfine (no pairs, no output rates).

All that is started is in a session of its own, is ended by its number, and has its home, state and
temporary files in one folder that is removed. Linux only: figures come from /proc.
"""
