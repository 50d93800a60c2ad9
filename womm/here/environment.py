"""Which variables come along to pods that see this machine's programs: a list of names, without secrets."""

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from womm import words
from womm.secrets import scan

PATHS: Final = (
    *"LD_LIBRARY_PATH LIBRARY_PATH CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH OBJC_INCLUDE_PATH".split(),
    *"PKG_CONFIG_PATH CMAKE_PREFIX_PATH ACLOCAL_PATH MANPATH INFOPATH".split(),
    *"PYTHONPATH PERL5LIB RUBYLIB NODE_PATH CLASSPATH R_LIBS R_LIBS_SITE R_LIBS_USER GEM_PATH".split(),
    *"JULIA_LOAD_PATH TERMINFO_DIRS XDG_DATA_DIRS GI_TYPELIB_PATH QT_PLUGIN_PATH GUIX_LOCPATH".split(),
)
"""Folders of libraries and data, joined by colons: they are roots, too."""
PREFIXES: Final = (
    *"VIRTUAL_ENV CONDA_PREFIX JAVA_HOME GOROOT RUSTUP_HOME R_HOME CUDA_HOME CUDA_PATH MKLROOT".split(),
    *"I_MPI_ROOT MPI_HOME MODULESHOME GUIX_PROFILE PYTHONHOME".split(),
)
"""Folders of programs, one in each: roots as well."""
PLACES: Final = (
    *"SSL_CERT_FILE SSL_CERT_DIR NIX_SSL_CERT_FILE LOCALE_ARCHIVE FONTCONFIG_FILE FONTCONFIG_PATH".split(),
)
"""Files and folders that are of use only where pods see them."""
NAMES: Final = (
    *"PATH LANG LANGUAGE LC_* TZ".split(),
    *PATHS,
    *PREFIXES,
    *"CONDA_DEFAULT_ENV CONDA_EXE CONDA_PYTHON_EXE CONDA_SHLVL CONDA_PREFIX_*".split(),
    *"PYTHONUTF8 PYTHONIOENCODING PYTHONNOUSERSITE PYTHONHASHSEED PYTHONUSERBASE".split(),
    *"PYTHONDONTWRITEBYTECODE PERL_LOCAL_LIB_ROOT RUSTUP_TOOLCHAIN GOFLAGS GOTOOLCHAIN".split(),
    *"MODULEPATH LOADEDMODULES _LMFILES_ LUA_PATH LUA_CPATH".split(),
    *PLACES,
    *"OMP_NUM_THREADS OMP_PROC_BIND OPENBLAS_NUM_THREADS MKL_NUM_THREADS".split(),
)
"""Names, and patterns for names."""
_LISTED: Final = re.compile("|".join(map(fnmatch.translate, NAMES)))


@dataclass(frozen=True, slots=True)
class Environment:
    """kept: variables of pods. left_out: why others of the list are not, by name: a few words."""

    kept: Mapping[str, str]
    left_out: Mapping[str, str]


def environment(
    env: Mapping[str, str],
    path: Sequence[str],
    added: Mapping[str, str],
    is_shown: Callable[[str], bool],
) -> Environment:
    """Choose from this machine's variables.

    path: the folders of PATH that pods have. added: more variables. is_shown: whether pods see a path.
    """
    listed = {name: value for name, value in sorted(env.items()) if value and _LISTED.fullmatch(name)}
    listed |= {**added, "PATH": ":".join(path)}
    left_out: dict[str, str] = {}
    for name, value in listed.items():
        if not _is_text(value):
            left_out[name] = "not UTF-8, and a pod can have no other"
        elif name in {*PREFIXES, *PLACES} and not is_shown(value):
            left_out[name] = f"pods do not see {words.name(value)}"
    for finding in scan.in_variables({name: listed[name] for name in listed if name not in left_out}):
        left_out[finding.path] = f"looks like a secret ({finding.rule})"
    kept = {name: value for name, value in listed.items() if name not in left_out}
    return Environment(kept, left_out)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value
