"""`womm cluster-setup`: what an admin applies, once, so that users who have no rights can run tasks."""

import click

from womm.cli import tables
from womm.cli.options import cluster_options, load_settings
from womm.errors import ClusterError
from womm.settings import Settings

_HEADING = """\
# Made by `womm cluster-setup`: what womm's users need in namespace {namespace}, nothing cluster-wide.
# You do not need it if you may already create Jobs and Deployments there, and exec into pods.
# Read it, then:  womm cluster-setup ... | kubectl apply -f -
"""
_NOBODY = """\
# It grants the role to nobody yet: say to whom with --user, --group or --service-account.
"""


def _names(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """A shell variable that is not set gives an empty one, and the role to nobody."""
    if not all(value.strip() for value in values):
        raise click.BadParameter("the name is empty", ctx, param)
    return values


@click.command("cluster-setup", context_settings={"max_content_width": 100})
@click.option(
    "--user",
    "users",
    metavar="NAME",
    multiple=True,
    callback=_names,
    help="Grant it to this user (repeatable).",
)
@click.option(
    "--group",
    "groups",
    metavar="NAME",
    multiple=True,
    callback=_names,
    help="Grant it to this group (repeatable).",
)
@click.option(
    "--service-account",
    "accounts",
    metavar="NAME",
    multiple=True,
    callback=_names,
    help="Grant it to this service account of the namespace (repeatable).",
)
@cluster_options
def command(
    users: tuple[str, ...], groups: tuple[str, ...], accounts: tuple[str, ...], **flags: str | None
) -> int:
    """Print what an admin applies so that users may run tasks.

    YAML of two roles of one namespace: for the users, and for coordinators within the cluster. Nothing
    is sent to the cluster.

    \b
    Examples:
      womm cluster-setup -n research --group researchers | kubectl apply -f -
      womm cluster-setup -n research --user audrey
    """
    from womm.cluster.kubernetes import rbac

    namespace = _namespace(load_settings(flags))
    named = (("User", users), ("Group", groups), ("ServiceAccount", accounts))
    subjects = [rbac.subject(kind, name, namespace) for kind, names in named for name in names]
    text = _HEADING.format(namespace=namespace) + ("" if subjects else _NOBODY)
    tables.write(f"{text}#\n{rbac.filled_in(namespace, subjects)}")
    return 0


def _namespace(settings: Settings) -> str:
    """The one that tasks would run in; an admin need not have a kubeconfig here."""
    from womm.cluster.kubernetes.client import KubeClient
    from womm.task.targets import run_apart, target_of

    async def resolve() -> str:
        client = await KubeClient.connect(target_of(settings))
        await client.close()
        return client.namespace

    if settings.namespace:
        return settings.namespace
    try:
        return run_apart(resolve())
    except ClusterError:
        if settings.context or settings.kubeconfig:
            raise
        return "default"
