"""The rules that find secrets in a text: what tokens and keys look like.

They are chosen after the rules of betterleaks (THIRD_PARTY.md): the shape of each service's tokens, a word
that is in every text with such a token, and the least entropy. The rule for assignments is stricter than
theirs: most files of an image are not the user's.

A pattern's last group, or the whole match where it has none, is the value.
"""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    """As the user reads it."""
    keywords: tuple[bytes, ...]
    """One of them is in each text, in small letters, that the pattern matches; none: look at every text."""
    pattern: re.Pattern[bytes]
    entropy: float = 2.5
    """In bits a character; a value below it is a placeholder."""
    is_password: bool = False
    """A person has chosen the value: it may be short, or a word."""
    has_examples: bool = False
    """Pages that explain programs, and tests of programs, have values of this kind that are nobody's."""


def _rule(
    name: str, keywords: str, pattern: str, entropy: float = 2.5, *, has_examples: bool = False
) -> Rule:
    words = tuple(keywords.encode().split())
    return Rule(name, words, re.compile(pattern.encode()), entropy, has_examples=has_examples)


_END: Final = r"(?![A-Za-z0-9_-])"
_BASE64: Final = "[A-Za-z0-9+/]"
# Between a name and its value: `= "`, `": "`, `=> '`.
_IS: Final = r"""["']?\s{0,8}(?:=>|:=|[=:])\s{0,8}["']?"""

RULES: Final = (
    # A header alone is no key: programs that read keys have it, too. So a long line of base64 follows, or a
    # shorter one and the end.
    _rule(
        "private key",
        "-----begin",
        r"-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?s:(?!-----END).){0,400}?("
        + _BASE64
        + r"{40})|(?:[\s\"'+,]|\\[nrt])*("
        + _BASE64
        + r"{8,})[A-Za-z0-9+/=\s\"',\\]{0,4000}-----END)",
        2.5,
        has_examples=True,
    ),
    _rule(
        "PuTTY key",
        "putty-user-key-file",
        r"PuTTY-User-Key-File-[23]: ?\S+(?s:.){0,8000}?Private-Lines: ?\d+\s+(" + _BASE64 + r"{40})",
        3.0,
    ),
    _rule("age key", "age-secret-key-1", r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}"),
    _rule(
        "AWS access key",
        "akia asia abia acca",
        r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b",
        3.0,
        has_examples=True,
    ),
    _rule(
        "AWS secret key",
        "aws",
        r"(?i:aws[\w.-]{0,20}(?:secret|key)[\w.-]{0,20})" + _IS + "(" + _BASE64 + r"{40})(?![A-Za-z0-9+/=])",
        4.0,
    ),
    _rule(
        "AWS secret key",
        "secretaccesskey",
        r"(?i:SecretAccessKey)" + _IS + "(" + _BASE64 + "{40})(?![A-Za-z0-9+/=])",
        4.0,
    ),
    _rule(
        "AWS Bedrock key",
        "absk bedrock-api-key-",
        r"\bABSK[A-Za-z0-9+/]{109,269}|bedrock-api-key-[A-Za-z0-9+/=]{40,}",
        3.0,
    ),
    _rule("Google service account", "private_key_id", r'"private_key_id"\s*:\s*"([0-9a-f]{40})"', 3.0),
    _rule("Google credentials", "refresh_token", r'"refresh_token"\s*:\s*"(1//[\w-]{20,})"', 3.5),
    _rule("Google API key", "aiza", r"\b(AIza[\w-]{35})" + _END, 4.0),
    _rule("Google OAuth secret", "gocspx-", r"\bGOCSPX-[\w-]{28}" + _END, 3.5),
    _rule("Google OAuth token", "ya29.", r"\bya29\.[\w-]{30,}", 3.5),
    _rule("Azure storage key", "accountkey", r"(?i:AccountKey)" + _IS + r"([A-Za-z0-9+/]{86}==)", 4.0),
    _rule(
        "Azure shared access key",
        "sharedaccesskey",
        r"(?i:SharedAccessKey)" + _IS + r"([A-Za-z0-9+/]{43}=)",
        4.0,
    ),
    _rule(
        "Azure client secret",
        "q~",
        r"(?<![\w~.-])([A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34})(?![\w~.-])",
        3.5,
    ),
    _rule(
        "Azure shared access signature",
        "sig=",
        r"[?&]s[vrpet]=[^\s\"']{1,300}?&sig=([A-Za-z0-9%/+]{40,}(?:=|%3[Dd])?)",
        3.5,
    ),
    _rule("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"\bgh[pousr]_[A-Za-z0-9]{36,255}" + _END, 3.0),
    _rule("GitHub token", "github_pat_", r"\bgithub_pat_\w{82}" + _END, 3.0),
    _rule(
        "GitLab token",
        "glpat- glptt- gldt- glrt- glrtr- glcbt- glsoat- glagent- glft- glimt- gloas- glffct- glat-",
        r"\bgl(?:pat|ptt|dt|rt|rtr|cbt|soat|agent|ft|imt|oas|ffct|at)-[\w.-]{20,300}",
        3.0,
    ),
    _rule(
        "Bitbucket or Atlassian token",
        "atatt3 atbb",
        r"\b(?:ATATT3[\w=-]{100,}|ATBB[A-Za-z0-9]{28,})" + _END,
        3.5,
    ),
    _rule(
        "Slack token",
        "xoxa xoxb xoxc xoxd xoxe xoxo xoxp xoxr xoxs",
        r"\bxox[a-eoprs](?:\.xox[bp])?-[0-9][\w%+/-]{14,}",
        2.8,
    ),
    _rule("Slack token", "xapp-", r"\bxapp-\d-[A-Z0-9]{5,}-\d{5,}-[a-z0-9]{20,}", 2.8),
    _rule(
        "Slack webhook",
        "hooks.slack.com",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/]{40,})",
        3.5,
    ),
    _rule(
        "Discord webhook", "/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/\d{16,20}/([\w-]{60,})", 3.5
    ),
    _rule(
        "Discord bot token", "discord", r"(?<![\w-])([MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27,38})" + _END, 4.0
    ),
    _rule("Telegram bot token", ":aa", r"(?<![\w-])(\d{8,10}:AA[\w-]{33})" + _END, 3.5),
    _rule(
        "Stripe key",
        "sk_live rk_live sk_test rk_test sk_prod rk_prod",
        r"\b[sr]k_(?:live|test|prod)_[A-Za-z0-9]{16,250}" + _END,
        3.0,
    ),
    _rule("Stripe webhook secret", "whsec_", r"\bwhsec_[A-Za-z0-9+/]{32,}", 3.5),
    _rule("npm token", "npm_", r"\bnpm_[A-Za-z0-9]{36}" + _END, 3.0),
    _rule(
        "npm login",
        ":_auth :_password",
        r"//[\w.:/-]{3,200}:_(?:authToken|auth|password)\s*=\s*\"?([^\s\"$]{8,})",
        has_examples=True,
    ),
    _rule("PyPI token", "pypi-age", r"\bpypi-AgE[\w-]{50,}", 3.0),
    _rule("crates.io token", "cargo crates", r"\bcio[A-Za-z0-9]{32}" + _END, 3.5),
    _rule("RubyGems key", "rubygems_", r"\brubygems_[a-f0-9]{48}\b", 3.0),
    _rule("NuGet key", "oy2", r"\boy2[a-z0-9]{43}" + _END, 3.5),
    _rule("Docker token", "dckr_pat_ dckr_oat_", r"\bdckr_[po]at_[\w-]{27,}", 3.0),
    _rule(
        "Docker Swarm token",
        "swmtkn-1- swmkey-1-",
        r"\b(?:SWMTKN-1-[a-z0-9]{40,}-[a-z0-9]{20,}|SWMKEY-1-[A-Za-z0-9+/]{40,})",
        3.0,
    ),
    _rule("registry login", '"auth"', r'"auth"\s*:\s*"((?=[a-z]*[A-Z0-9+/])[A-Za-z0-9+/]{12,}={0,2})"', 3.0),
    _rule(
        "registry login",
        "identitytoken registrytoken",
        r'"(?:identity|registry)token"\s*:\s*"([^\s"]{16,})"',
        3.0,
    ),
    _rule("Hugging Face token", "hf_ api_org_", r"\b(?:hf|api_org)_[A-Za-z0-9]{34,40}" + _END, 3.0),
    _rule("Anthropic key", "sk-ant-", r"\bsk-ant-[a-z]{3,6}\d\d-[\w-]{60,}", 3.5),
    _rule("OpenAI key", "sk-", r"\bsk-(?:proj|svcacct|admin|or-v1)-[\w-]{40,}", 3.5),
    _rule("OpenAI key", "sk-", r"(?<![\w-])sk-(?=[A-Za-z]*\d)[A-Za-z0-9]{32,64}" + _END, 3.3),
    _rule(
        "Groq, xAI or Perplexity key",
        "gsk_ xai- pplx-",
        r"\b(?:gsk_[A-Za-z0-9]{48,}|xai-[A-Za-z0-9]{70,}|pplx-[A-Za-z0-9]{40,})" + _END,
        3.5,
    ),
    _rule("Replicate or NVIDIA key", "r8_ nvapi-", r"\b(?:r8_[A-Za-z0-9]{37}|nvapi-[\w-]{60,})" + _END, 3.5),
    _rule("Databricks token", "dapi", r"\bdapi[a-f0-9]{32}(?:-\d)?" + _END, 3.0),
    _rule("Vault token", "hvs. hvb. hvr.", r"\bhv[sbr]\.[\w-]{80,300}", 3.5),
    _rule("Terraform token", ".atlasv1.", r"\b[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,}", 3.5),
    _rule("Pulumi token", "pul-", r"\bpul-[a-f0-9]{40}\b", 3.0),
    _rule(
        "Doppler token",
        "dp.pt. dp.st. dp.sa.",
        r"\bdp\.(?:pt|sa|st(?:\.[\w-]{1,40})?)\.[A-Za-z0-9]{40,44}",
        3.5,
    ),
    _rule("1Password token", "ops_eyj", r"\bops_eyJ[A-Za-z0-9+/]{200,}", 3.5),
    _rule("SendGrid key", "sendgrid =sg. \"sg. 'sg.", r"\bSG\.[\w-]{20,24}\.[\w-]{39,50}", 3.5),
    _rule("Mailgun key", "mailgun", r"\bkey-[a-f0-9]{32}\b", 3.0),
    _rule("Twilio key", "twilio", r"\bSK[0-9a-f]{32}\b", 3.0),
    _rule("DigitalOcean token", "doo_v1_ dop_v1_ dor_v1_", r"\bdo[opr]_v1_[a-f0-9]{64}\b", 3.0),
    _rule("Cloudflare key", "v1.0-", r"\bv1\.0-[a-f0-9]{24}-[a-f0-9]{146}\b", 3.0),
    _rule("Heroku key", "hrku-", r"\bHRKU-[\w-]{30,}", 3.0),
    _rule("Fly.io token", "fm1 fm2_", r"\bfm(?:1[ar]|2)_[A-Za-z0-9+/]{80,}", 3.5),
    _rule(
        "Grafana token", "glsa_ glc_", r"\bgl(?:sa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|c_[A-Za-z0-9+/]{32,})", 3.3
    ),
    _rule("Sentry token", "sntrys_ sntryu_", r"\bsntry(?:u_[a-f0-9]{64}|s_eyJ[A-Za-z0-9+/=_]{60,})", 3.0),
    _rule("New Relic key", "nrak-", r"\bNRAK-[A-Z0-9]{27}\b", 3.0),
    _rule("Artifactory key", "akcp cmvmd", r"\b(?:AKCp[A-Za-z0-9]{68,70}|cmVmd[A-Za-z0-9]{59})\b", 3.5),
    _rule(
        "Linear, Notion or Figma token",
        "lin_api_ ntn_ figd_",
        r"\b(?:lin_api_[A-Za-z0-9]{40}|ntn_[A-Za-z0-9]{40,}|figd_[\w-]{40})" + _END,
        3.3,
    ),
    _rule("Postman key", "pmak-", r"\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}\b", 3.0),
    _rule("Shopify token", "shpat_ shpca_ shppa_ shpss_", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b", 3.0),
    _rule(
        "Supabase or PlanetScale token",
        "sbp_ pscale_",
        r"\b(?:sbp_[a-f0-9]{40}|pscale_(?:tkn|pw|oauth)_[\w=.-]{32,64})" + _END,
        3.0,
    ),
    _rule("Tailscale key", "tskey-", r"\btskey-[a-z]{3,9}-[A-Za-z0-9]{6,}-[A-Za-z0-9]{20,}", 3.0),
    _rule(
        "Kubernetes client key",
        "client-key-data",
        r"client-key-data\s*:\s*[\"']?([A-Za-z0-9+/]{100,}={0,2})",
        3.5,
    ),
    _rule("JSON web token", "eyj", r"\b(eyJ[\w-]{14,}\.eyJ[\w-]{14,}\.[\w-]{16,})", 3.5, has_examples=True),
    _rule(
        "authorization header",
        "authorization",
        r"(?i:authorization)" + _IS + r"(?i:bearer|basic|token)\s+([A-Za-z0-9+/=_.~-]{16,})",
        3.3,
        has_examples=True,
    ),
    Rule(
        "password in an address",
        (),
        re.compile(
            rb"""://[^\s:/@'"<>{}()\[\]$%|\\]{0,100}:([^\s:/@'"<>{}()\[\]$%|\\]{3,200})@"""
            rb"""(?!(?:[\w-]+\.)*(?:example|invalid|test)\b)[\w\[]"""
        ),
        0.0,
        is_password=True,
        has_examples=True,
    ),
)

_KEYS: Final = "access account api auth encryption master private signing".split()
_NAMES: Final = (
    r"(?:(?i:pass(?:word|wd|phrase)|secret|token|credentials?|(?:"
    + "|".join(_KEYS)
    + r")[_-]?key)|[_.-](?i:pass|pwd))"
)
# `token_url = ...`: what the value is, and no secret.
_OTHER: Final = (
    r"(?![\w.-]{0,20}(?i:class|endpoint|field|file|format|header|length|name|param|path|pattern|prefix|type|ur[il]|version)"
    r"s?\b)"
)
# As `_IS`, with blanks of the same line only; then a value in quotes, or one without.
_ASSIGNED: Final = _NAMES + _OTHER + r"""[\w.-]{0,20}["']?\]?[ \t]{0,8}(?:=>|:=|[=:](?!=))[ \t]{0,8}"""
_QUOTED: Final = r"""(?:[bru]{0,2}"([^"\s\\]{6,200})"|[bru]{0,2}'([^'\s\\]{6,200})')"""
_BARE: Final = r"""([^\s"'<>(){}\[\],;#`$&|\\]{6,200})(?![^\s,;#])"""
ASSIGNMENTS: Final = (
    *"password passwd passphrase secret token credential _pass -pass .pass _pwd -pwd .pwd".split(),
    *(f"{name}{between}key" for name in _KEYS for between in ("", "_", "-")),
)
"""Words in small letters: each assignment begins with one of them. QUOTED and ANY match from there on."""
QUOTED: Final = re.compile((_ASSIGNED + _QUOTED).encode())
"""An assignment in a program: names and calls stand without quotes, so the value must have some."""
ANY: Final = re.compile((_ASSIGNED + f"(?:{_QUOTED}|{_BARE})").encode())
"""An assignment in a file of settings or a command."""
PASSWORDS: Final = re.compile(rb"(?i)[_.-]?(?:pass|pwd)")
"""How an assignment of what a person has chosen begins: it need not look random."""
