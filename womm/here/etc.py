"""What of /etc pods see: an allow-list, since every user may read much there that is nobody else's business.

It has what the loader, the C library and the runtimes of languages read. It has no settings of shells and of
single programs: people put passwords there.
"""

import fnmatch
import os
import re
from typing import Final

ALLOWED: Final = (
    # The loader, and links that choose one of several programs.
    *"ld.so.cache ld.so.conf ld.so.conf.d alternatives ld-musl-*.path".split(),
    # Certificates of authorities, and how the libraries for TLS use them.
    *"ssl/certs ssl/cert.pem ssl/openssl.cnf crypto-policies gnutls".split(),
    *"ca-certificates ca-certificates.conf".split(),
    *"pki/tls/certs pki/tls/cert.pem pki/tls/openssl.cnf pki/ca-trust/extracted pki/java".split(),
    # Users, groups, names.
    *"passwd group nsswitch.conf services protocols rpc networks ethertypes".split(),
    *"host.conf gai.conf shells".split(),
    # Language and time.
    *"locale.alias locale.conf locale.gen default/locale localtime timezone".split(),
    # Which system this is.
    *"os-release lsb-release *-release debian_version dpkg/origins".split(),
    # Runtimes of languages and what they load.
    *"python2* python3* perl java* .java nodejs gcc ghc ruby lua php R julia octave*".split(),
    *"ocaml mono dotnet".split(),
    *"maven ant gradle scala emacs openmpi mpich* libfabric* OpenCL vulkan glvnd openal".split(),
    *"environment-modules lmod".split(),
    # Data that programs read.
    *"terminfo magic magic.mime mime.types fonts texmf papersize paperspecs sgml xml".split(),
    *"groff gdb vim inputrc".split(),
    *"manpath.config man_db.conf ImageMagick-* ghostscript matplotlibrc".split(),
)
"""Patterns for files and folders below /etc; of a folder all is shown, but for what `never` names."""
_NEVER: Final = re.compile(
    r"(?:^|/)(?:g?shadow-?|passwd-|group-|sudoers(?:\.d)?|ssh|private|secrets?|[^/]*\.(?:key|p12|pfx|jks|keystore|kdbx?)"
    r"|[^/]*(?:credential|password|secret|auth\.conf)[^/]*|[^/]*_key|wgetrc|netrc|machine-id|NetworkManager"
    r"|wireguard|cups|krb5\.keytab)(?:/|$)",
    re.I,
)


def never(relative: str) -> bool:
    """Return whether a path below /etc is hidden in spite of a folder that is shown."""
    return _NEVER.search(relative) is not None


def shown(etc: str = "/etc") -> tuple[str, ...]:
    """Return what is there of the allow-list, relative to `etc`, sorted."""
    found: set[str] = set()
    for pattern in ALLOWED:
        folder, _, name = pattern.rpartition("/")
        try:
            names = os.listdir(os.path.join(etc, folder)) if _is_pattern(name) else [name]
        except OSError:
            continue
        for one in fnmatch.filter(names, name):
            relative = os.path.join(folder, one)
            if os.path.exists(os.path.join(etc, relative)) and not never(relative):
                found.add(relative)
    return tuple(sorted(found))


def _is_pattern(name: str) -> bool:
    return "*" in name
