"""The user's kubeconfig: which cluster, and with what credentials; or the service account of a pod.

The official client reads it, except where it differs from kubectl: the first of several files names the
current context; a credential plugin that fails is an error, not an anonymous user; keys that the kubeconfig
holds are files of one client, gone with it; and no key is part of an error message.
"""

import asyncio
import base64
import errno
import functools
import json
import os
import shlex
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import womm.cluster.kubernetes.lean  # noqa: F401 before all that follows

# isort: split
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config, kube_config
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.exec_provider import ExecProvider

from womm import places, programs
from womm.cluster.kubernetes import contexts
from womm.errors import ClusterError
from womm.process import usual_file_limit


@dataclass(frozen=True, slots=True)
class Found:
    """The credentials, the context (empty: from within a cluster) and the namespace that it names."""

    configuration: Configuration
    context: str
    namespace: str


async def load(path: str, context: str, folder: Path) -> Found:
    """Read the credentials; `path` and `context` as kubectl's options, empty: as its defaults.

    Keys become files in `folder`. Raises ClusterError.
    """
    wanted = bool(path or context)
    path = path or contexts.default_path()
    configuration = Configuration()
    configuration.connection_pool_maxsize = 0  # one exec a worker and some watches: no limit
    with contexts.translated(path):
        try:
            if found := contexts.read(path, wanted=wanted):
                return await _from_files(found, context, configuration, folder)
            incluster_config.load_incluster_config(configuration)
            namespace = (contexts.SERVICE_ACCOUNT / "namespace").read_text().strip()
            return Found(configuration, "", namespace)
        except ConfigException as exc:
            raise ClusterError(
                f"the kubeconfig {path}: {contexts.problem(exc)}", "kubectl config view"
            ) from exc
        except ssl.SSLError as exc:
            raise ClusterError(f"the kubeconfig {path}: a key or certificate is none") from exc


async def _from_files(read: contexts.Read, context: str, configuration: Configuration, folder: Path) -> Found:
    named = {str(entry["name"]): entry for entry in reversed(contexts.entries(read))}  # the first one counts
    name = contexts.chosen(named, context or contexts.current(read))
    merged = kube_config.KubeConfigMerger(os.pathsep.join(str(file) for file, _ in read)).config
    for kind in ("clusters", "users"):
        for node in merged.value[kind]:
            _to_files(node.value.get(kind[:-1]) or {}, folder)
            _resolve_old_plugin(node.value.get(kind[:-1]) or {}, os.path.dirname(os.path.abspath(node.path)))
    loader: Any = _Loader(merged, active_context=name, config_base_path=None)  # type: ignore[no-untyped-call]
    loader.folder = folder
    await loader.load_and_set(configuration)
    return Found(configuration, name, contexts.namespace(named[name]))


def _to_files(given: dict[str, Any], folder: Path) -> None:
    """Replace the keys and certificates that a cluster or a user has inline by files."""
    for name in ("certificate-authority", "client-certificate", "client-key"):
        if data := given.pop(f"{name}-data", None):
            given[name] = _to_file(base64.b64decode(data), folder)


def _to_file(data: bytes, folder: Path) -> str:
    path = folder / f"{len(list(folder.iterdir()))}.pem"
    private = functools.partial(os.open, mode=0o600)
    with places.naming(path), open(path, "xb", opener=private) as file:
        file.write(data)
    return str(path)


def _resolve_old_plugin(given: dict[str, Any], folder: str) -> None:
    """Have the program of an auth-provider run as those of `exec` do: see _program and _run."""
    config = (given.get("auth-provider") or {}).get("config") or {}
    if "cmd-path" in config:
        words = [_program(str(config["cmd-path"]), folder), *shlex.split(str(config.get("cmd-args", "")))]
        config["cmd-path"] = "/bin/sh"
        config["cmd-args"] = shlex.join(["-c", 'cd "$0" && exec "$@"', folder, *words])


class _Loader(kube_config.KubeConfigLoader):
    """The official loader, with credential plugins whose failure is an error."""

    folder: Path

    async def load_from_exec_plugin(self) -> bool:
        user: Any = self._user
        given = user["exec"]
        command = str(given["command"])
        provider: Any = ExecProvider(given)
        folder = os.path.dirname(os.path.abspath(user.path))
        try:
            status = await _run([_program(command, folder), *provider.args[1:]], provider.env, folder, given)
        except OSError as exc:
            hint = given.safe_get("installHint")
            raise ConfigException(
                f"its credential plugin {command}: {contexts.problem(exc)}" + (f" ({hint})" if hint else "")
            ) from exc
        except ConfigException as exc:
            raise ConfigException(f"its credential plugin {command} failed: {contexts.problem(exc)}") from exc
        if "token" in status:
            self.token = f"Bearer {status['token']}"
        if "clientCertificateData" in status and "clientKeyData" in status:
            self.cert_file = _to_file(status["clientCertificateData"].encode(), self.folder)
            self.key_file = _to_file(status["clientKeyData"].encode(), self.folder)
        elif "token" not in status:
            raise ConfigException(f"its credential plugin {command} gave neither a token nor a certificate")
        return True


def _program(command: str, folder: str) -> str:
    """As client-go: a path counts from the kubeconfig's folder, and a name is never the current folder's."""
    found = os.path.join(folder, command) if os.sep in command else programs.which(command)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)
    return found


async def _run(words: Sequence[str], env: Mapping[str, str], folder: str, given: Any) -> Mapping[str, Any]:
    """Run a credential plugin and return the credentials that it prints. Raises OSError, ConfigException.

    It runs in the kubeconfig's folder. The current one may be anybody's, and `python3 -m` imports from there.
    """
    version = given["apiVersion"]
    told = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": os.isatty(0)}}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *words, env={**env, "KUBERNETES_EXEC_INFO": json.dumps(told)}, cwd=folder, stdout=pipe, stderr=pipe
    )
    usual_file_limit(process.pid)
    out, err = await process.communicate()
    if process.returncode:
        why = err.decode(errors="replace").strip()
        raise ConfigException(f"status {process.returncode}" + (f". {why}" if why else ""))
    try:
        answer = json.loads(out)
        status = answer["status"]
        known = (answer["kind"], answer["apiVersion"]) == ("ExecCredential", version)
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigException("its answer is no ExecCredential") from exc
    if not known or not isinstance(status, dict):
        raise ConfigException(f"its answer is no ExecCredential of {version}")
    return status
