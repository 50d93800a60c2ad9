"""The programs at the workers' end: the agent, the bridge to it, the copy into a pod, the login shim.

They are perl and need nothing beyond Debian's perl-base, because a worker's image is the user's. Rejected:
Python, since an image may lack it, and its start costs 16-70 ms a job, where perl without modules costs 2.
"""

from collections.abc import Mapping
from pathlib import Path

TASK_VARIABLE = "WOMM_TASK"
"""Names the task in the environment of every process of its workers."""
AGENT = Path(__file__).parent / "agent.pl"
SHIM = Path(__file__).parent / "shim.pl"
SHIM_REST = Path(__file__).parent / "shim_rest.pl"
BRIDGE = Path(__file__).parent / "bridge.pl"
COPY_INTO_POD = Path(__file__).parent / "copy_into_pod.pl"

PERL_VARIABLES = ("PERL5OPT", "PERL5LIB", "PERLLIB", "PERL_UNICODE", "PERLIO", "PERL5DB", "PERL_SIGNALS")
"""A user's variables for programs in perl. With them ours would load other code, or change bytes."""
KEPT = "WOMM_KEPT_"
"""An agent takes this prefix off the names of variables and gives these to its jobs."""


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables of perl."""
    return {name: value for name, value in environ.items() if name not in PERL_VARIABLES}


def agent_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for an agent: its jobs get back all variables of `environ`."""
    kept = {KEPT + name: environ[name] for name in PERL_VARIABLES if name in environ}
    return {**clean_environment(environ), **kept}
