"""Lines of a Dockerfile, quoted for docker's builder.

The builder reads a Dockerfile line by line: a backslash at a line's end joins it with the next, without a
line break, and a comment within a joined line vanishes. So a command with several lines is written as a list
of words in JSON, which the builder takes as it is.
"""

import json
import re
from typing import Final

from womm import words

_SH: Final = "/bin/sh"
_BASH: Final = "/bin/bash"
# What bash has and a plain sh has not, as far as a look at the text tells it.
_BASHISMS: Final = re.compile(
    r"\[\[|\(\(|<<<|[<>]\(|&>|\|&|\$'|\$\{\w+(?:/|\^|,|:\d|@)|\$\{!|\w=\(|\{[^{}\s]*(?:,|\.\.)[^{}\s]*\}"
    r"|(?:^|[\s;&|])(?:source|shopt|pushd|popd|declare|typeset|local|function|let|mapfile|readarray)\s"
)
_NOT_PLAIN: Final = re.compile(r"\n|\r|<<|\\\s*\Z|\A\s*(?:\[|--)")


def run(command: str, *, bash: bool = False) -> str:
    """Return a RUN line. bash: the command was typed in a bash, and may need one."""
    shell = _BASH if bash and _BASHISMS.search(command) else _SH
    if shell == _SH and not _NOT_PLAIN.search(command):
        return f"RUN {command.strip()}"
    return "RUN " + json.dumps([shell, "-c", command], ensure_ascii=False)


def env(name: str, value: str) -> str | None:
    """Return an ENV line; None: no such line can hold this, since the value has line breaks."""
    if re.search(r"[\n\r\0]", value) or not re.fullmatch(r"[A-Za-z_]\w*", name):
        return None
    quoted = re.sub(r'([\\"$])', r"\\\1", value)
    return f'ENV {name}="{quoted}"'


def comment(text: str) -> str:
    """Return a text as comment lines. Control characters are shown as escapes."""
    return "\n".join(f"# {words.printable(line)}".rstrip() for line in text.split("\n"))
