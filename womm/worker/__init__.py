"""The programs of the workers' end, and the shim of GNU parallel's logins, all in perl.

agent.pl          runs jobs; the other end of a link
bridge.pl         connects an exec's stdin and stdout to the agent's or the file server's socket
copy_into_pod.pl  fills a folder of a pod from its stdin
shim.pl           GNU parallel starts it for each job; shim_rest.pl: its rarer half

They are single files that need nothing beyond Debian's perl-base, because a worker's image is the
user's. Python was rejected for them: an image need not have it, and a start of it costs 16-70 ms a
job, where perl without modules costs 2.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

TASK_VARIABLE = "WOMM_TASK"
"""Names the task in the environment of every process of its workers."""
AGENT = Path(__file__).parent / "agent.pl"
SHIM = Path(__file__).parent / "shim.pl"
SHIM_REST = Path(__file__).parent / "shim_rest.pl"
BRIDGE = Path(__file__).parent / "bridge.pl"
COPY_INTO_POD = Path(__file__).parent / "copy_into_pod.pl"

PERL_VARIABLES = ("PERL5OPT", "PERL5LIB", "PERLLIB", "PERL_UNICODE", "PERLIO", "PERL5DB", "PERL_SIGNALS")
"""Settings of a user's own perl programs: ours would load modules by them, or read and write other bytes."""
LOADER_VARIABLES = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT")
"""Settings of the loader: a user's perl would take other libraries by them."""
KEPT = "WOMM_KEPT_"
"""An agent takes this prefix off the names of variables and gives these to its jobs."""
SPARE_HOME = "WOMM_SPARE_HOME"
"""An agent gives its jobs this HOME when its own is no folder that it may write into."""


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables of perl."""
    return {name: value for name, value in environ.items() if name not in PERL_VARIABLES}


def agent_environment(
    environ: Mapping[str, str], for_jobs: Collection[str] = PERL_VARIABLES
) -> dict[str, str]:
    """Return the environment for an agent: its jobs get back all variables of `environ`.

    for_jobs: the names of those that the agent itself does without.
    """
    return {KEPT + name if name in for_jobs else name: value for name, value in environ.items()}
