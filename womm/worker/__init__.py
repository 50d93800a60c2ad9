"""What runs at the workers' end: the agent (perl) and the login shim (perl).

Both are single files that need nothing beyond Debian's perl-base, because a worker's image is the
user's. Python was rejected for them: an image need not have it, and a start of it costs 16-70 ms a
job, where perl without modules costs 2.
"""

from pathlib import Path

TASK_VARIABLE = "WOMM_TASK"
"""Names the task in the environment of every process of its workers."""
AGENT = Path(__file__).parent / "agent.pl"
SHIM = Path(__file__).parent / "shim.pl"
SHIM_REST = Path(__file__).parent / "shim_rest.pl"
BRIDGE = Path(__file__).parent / "bridge.pl"
FILL = Path(__file__).parent / "fill.pl"
