"""The files that hold secrets by their name: logins of programs, keys, histories."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FileRule:
    name: str
    path: str
    """A pattern for the end of a path, from where a name begins."""
    content: re.Pattern[bytes] | None
    """What makes it a finding; None: that the file is there."""


def _file(name: str, path: str, content: str | None = None) -> FileRule:
    return FileRule(name, path, re.compile(content.encode()) if content is not None else None)


_SOME: Final = r"\S"
FILES: Final = (
    _file("netrc", r"[._]netrc", r"(?i)\bpassword\s+\S"),
    _file("apt login", r"etc/apt/auth\.conf(?:\.d/[^/]+)?", r"(?i)\bpassword\s+\S"),
    _file(
        "environment file",
        r"\.env(?:rc)?(?:\.(?!example|sample|template|dist|default)[\w-]+)?",
        r"(?m)^\s*(?:export\s+)?\w+\s*=\s*[\"']?[^\s\"'#]",
    ),
    _file(
        "Docker login",
        r"(?:\.docker/config|containers/auth)\.json|\.dockercfg",
        r'"(?:auth|identitytoken|registrytoken|password)"\s*:\s*"[^"]',
    ),
    _file("git credentials", r"\.git-credentials|\.config/git/credentials", r"://[^\s@]+@"),
    _file("GitHub login", r"\.config/(?:gh/hosts\.yml|hub)", r"oauth_token\s*:\s*\S"),
    _file("GitLab login", r"\.config/glab-cli/config\.yml", r"(?m)^\s*token\s*:\s*\S"),
    _file(
        "npm login",
        r"\.?npmrc|\.yarnrc(?:\.yml)?",
        r"(?i)(?:_authToken|_auth|_password|npmAuthToken)\"?\s*[=: ]\s*[\"']?[^\s\"'$]",
    ),
    _file("PyPI login", r"\.pypirc", r"(?im)^\s*password\s*[=:]\s*\S"),
    _file("pip login", r"(?:pip\.conf|\.pip/pip\.conf)", r"://[^\s:@/]+:[^\s@/]+@"),
    _file("crates.io login", r"\.cargo/credentials(?:\.toml)?", r"token\s*=\s*\S"),
    _file("RubyGems login", r"\.(?:local/share/)?gem/credentials", r":\s*\S+"),
    _file("Composer login", r"(?:\.composer|\.config/composer)/auth\.json", r'"[^"]+"\s*:\s*"[^"]+"'),
    # Maven's own settings.xml has examples.
    _file(
        "Maven login",
        r"(?:\.m2|maven[^/]*|conf)/settings(?:-security)?\.xml",
        r"<(?:password|passphrase|master)>\s*(?!repopwd<|proxypass<|optional; leave empty)[^<\s$]",
    ),
    _file(
        "AWS credentials", r"\.aws/credentials", r"(?i)(?:aws_secret_access_key|aws_session_token)\s*=\s*\S"
    ),
    _file("AWS login", r"\.aws/(?:sso|cli)/cache/[^/]+\.json", r"(?i)\"(?:accessToken|SecretAccessKey)\""),
    _file(
        "Google Cloud credentials",
        r"(?:\.config/)?gcloud/(?:credentials\.db|access_tokens\.db|application_default_credentials\.json|legacy_credentials/.+)",
    ),
    _file(
        "Azure credentials",
        r"\.azure/(?:accessTokens\.json|msal_token_cache\.(?:json|bin)|service_principal_entries\.(?:json|bin))",
    ),
    _file(
        "kubeconfig",
        r"\.kube/config|[\w.-]*kubeconfig[\w.-]*|etc/kubernetes/[\w-]+\.conf",
        r"(?m)^\s*-?\s*(?:token|password|client-key-data|id-token|refresh-token)\"?\s*:\s*[\"']?[^\s\"']",
    ),
    _file("Kubernetes service account", r"serviceaccount/token", _SOME),
    _file(
        "SSH key",
        r"\.ssh/(?:id_[\w-]+|identity|[\w.-]+\.(?:pem|key|ppk))",
        r"PRIVATE KEY|PuTTY-User-Key-File",
    ),
    _file("GnuPG key", r"\.gnupg/(?:private-keys-v1\.d/[^/]+\.key|secring\.gpg)"),
    _file("key store", r"[^/]+\.(?:p12|pfx|jks|keystore|kdbx?|ppk)"),
    _file(
        "shell history",
        r"\.(?:bash|zsh|ash|sh|ksh|dash|mksh|tcsh)?_?history|\.histfile|fish_history",
        _SOME,
    ),
    _file(
        "program history",
        r"\.(?:python|psql|mysql|sqlite|node_repl|rediscli|scala|julia|R|irb|lua)_?history|\.Rhistory",
        _SOME,
    ),
    _file("PostgreSQL password", r"\.pgpass", r"(?m)^[^#\n]*:[^:\n]+$"),
    _file("MySQL password", r"\.my(?:login)?\.cnf", r"(?im)^\s*password\s*=\s*\S"),
    _file("Hugging Face token", r"(?:\.cache|\.)/?huggingface/(?:token|stored_tokens)", _SOME),
    _file("Kaggle key", r"kaggle\.json", r'"key"\s*:\s*"[^"]'),
    _file("Vault token", r"\.vault-token", _SOME),
    _file(
        "Terraform login",
        r"\.terraform\.d/credentials\.tfrc\.json|\.terraformrc",
        r"token\"?\s*[=:]\s*\"?\S",
    ),
    _file(
        "rclone login",
        r"rclone/rclone\.conf",
        r"(?m)^\s*(?:pass|token|secret_access_key|client_secret|key)\s*=\s*\S",
    ),
    _file(
        "S3 login",
        r"\.(?:s3cfg|boto|passwd-s3fs)|etc/passwd-s3fs",
        r"(?m)^\s*(?:secret_key|\w*secret_access_key)\s*=\s*\S|^[^\s:]+:\S+",
    ),
    _file("cifs password", r"\.(?:smb|cifs)?credentials", r"(?im)^\s*pass(?:word)?\s*[=:]\s*\S"),
    _file("web password", r"\.htpasswd", r"(?m)^[^#:\n]+:\S"),
    _file("password of an account", r"etc/shadow-?|etc/gshadow-?", r"(?m)^[^:\n]+:\$[^:\n]+:"),
    _file("WireGuard key", r"wireguard/[\w.-]+\.conf", r"PrivateKey\s*=\s*\S"),
    _file(
        "wireless password",
        r"etc/(?:NetworkManager/system-connections/[^/]+|wpa_supplicant/[^/]+\.conf)",
        r"(?m)^\s*psk\s*=\s*\S",
    ),
    _file("VNC password", r"\.vnc/passwd"),
)
