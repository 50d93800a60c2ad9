"""Each rule finds what it is for, and its words are in each text that its pattern matches."""

import pytest

from tests.secrets.planting import BASE64, CAPITALS, HEX, LETTERS, SMALL, WORDS, jwt, made, pem
from womm.secrets import rules, scan

# Each has the rule's name, and a text that only this rule is for.
EXAMPLES = [
    ("private key", pem()),
    ("private key", pem("OPENSSH ")),
    ("private key", "key: " + pem("EC ").replace("\n", "\\n")),
    ("private key", pem("").replace("\n", "\n    ")),
    ("PuTTY key", f"PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n{made(64, BASE64)}\n"),
    ("age key", "AGE-SECRET-" + "KEY-1" + made(58, "023456789ACDEFGHJKLMNPQRSTUVWXYZ")),
    ("AWS access key", "id = " + "AKIA" + made(16, CAPITALS)),
    ("AWS secret key", "aws_secret_access_key = " + made(40, BASE64)),
    ("AWS secret key", f'"SecretAccessKey": "{made(40, BASE64)}"'),
    ("AWS Bedrock key", "ABSK" + made(120, BASE64)),
    ("Google service account", f'"private_key_id": "{made(40, HEX)}"'),
    ("Google credentials", f'"refresh_token": "1//{made(60, WORDS)}"'),
    ("Google API key", "AIza" + made(35, LETTERS)),
    ("Google OAuth secret", "GOCSPX-" + made(28)),
    ("Google OAuth token", "ya29." + made(80, WORDS)),
    ("Azure storage key", f"AccountName=a;AccountKey={made(86, BASE64)}=="),
    ("Azure shared access key", f"SharedAccessKeyName=a;SharedAccessKey={made(43, BASE64)}="),
    ("Azure client secret", f"value: {made(3)}8" + "Q~" + made(34)),
    ("Azure shared access signature", f"https://a.b/c?sv=2022-11-02&ss=b&sig={made(43)}%3D"),
    ("GitHub token", "ghp_" + made(36)),
    ("GitHub token", "github_pat_" + made(22) + "_" + made(59)),
    ("GitLab token", "glpat-" + made(20)),
    ("Bitbucket or Atlassian token", "ATATT3" + made(186)),
    ("Slack token", f"xoxb-{made(12, '123456789')}-{made(13, '123456789')}-{made(24)}"),
    ("Slack token", f"xapp-1-{made(11, CAPITALS)}-{made(13, '123456789')}-{made(64, HEX)}"),
    ("Slack webhook", f"https://hooks.slack.com/services/{made(44)}"),
    ("Discord webhook", f"https://discord.com/api/webhooks/{made(18, '123456789')}/{made(68)}"),
    ("Discord bot token", f"discord: M{made(23)}.{made(6)}.{made(38)}"),
    ("Telegram bot token", f"{made(10, '123456789')}:AA{made(33)}"),
    ("Stripe key", "sk_" + "live_" + made(24)),
    ("Stripe webhook secret", "whsec_" + made(32)),
    ("npm token", "npm_" + made(36)),
    ("npm login", f"//registry/:_authToken={made(36)}"),
    ("PyPI token", "pypi-AgEIcHlwaS5vcmc" + made(120, WORDS)),
    ("crates.io token", "cargo login cio" + made(32)),
    ("RubyGems key", "rubygems_" + made(48, HEX)),
    ("NuGet key", "oy2" + made(43, SMALL)),
    ("Docker token", "dckr_pat_" + made(27)),
    ("Docker Swarm token", f"SWMTKN-1-{made(50, SMALL)}-{made(25, SMALL)}"),
    ("registry login", f'"auths": {{"r.example": {{"auth": "{made(24, BASE64)}"}}}}'),
    ("registry login", f'"identitytoken": "{made(40)}"'),
    ("Hugging Face token", "hf_" + made(34)),
    ("Anthropic key", "sk-ant-" + "api03-" + made(93, WORDS) + "AA"),
    ("OpenAI key", "sk-" + "proj-" + made(100)),
    ("OpenAI key", "sk-" + made(48)),
    ("Groq, xAI or Perplexity key", "gsk_" + made(52)),
    ("Replicate or NVIDIA key", "r8_" + made(37)),
    ("Databricks token", "dapi" + made(32, HEX)),
    ("Vault token", "hvs." + made(95)),
    ("Terraform token", made(14) + ".atlasv1." + made(67)),
    ("Pulumi token", "pul-" + made(40, HEX)),
    ("Doppler token", "dp.pt." + made(43)),
    ("1Password token", "ops_eyJ" + made(250)),
    ("SendGrid key", f"key=SG.{made(22)}.{made(43)}"),
    ("Mailgun key", "mailgun: key-" + made(32, HEX)),
    ("Twilio key", "twilio: SK" + made(32, HEX)),
    ("DigitalOcean token", "dop_v1_" + made(64, HEX)),
    ("Cloudflare key", f"v1.0-{made(24, HEX)}-{made(146, HEX)}"),
    ("Heroku key", "HRKU-" + made(36)),
    ("Fly.io token", "fm2_" + made(90, BASE64)),
    ("Grafana token", f"glsa_{made(32)}_{made(8, HEX)}"),
    ("Sentry token", "sntryu_" + made(64, HEX)),
    ("New Relic key", "NRAK-" + made(27, CAPITALS)),
    ("Artifactory key", "AKCp" + made(69)),
    ("Linear, Notion or Figma token", "lin_api_" + made(40)),
    ("Postman key", f"PMAK-{made(24, HEX)}-{made(34, HEX)}"),
    ("Shopify token", "shpat_" + made(32, HEX)),
    ("Supabase or PlanetScale token", "sbp_" + made(40, HEX)),
    ("Tailscale key", f"tskey-auth-{made(16)}-{made(32)}"),
    ("Kubernetes client key", f"    client-key-data: {made(200, BASE64)}"),
    ("JSON web token", jwt()),
    ("authorization header", f"Authorization: Bearer {made(40)}"),
    ("password in an address", f"postgres://app:{made(10)}@db.internal/app"),
]


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_rule_finds_what_it_is_for(name, text):
    found = scan.scan([("/opt/app/file.conf", f"first line\n{text}\n".encode())])
    assert (name, 2) in {(finding.rule, finding.line) for finding in found}


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_words_of_rule_are_in_what_it_finds(rule):
    examples = [text.encode() for name, text in EXAMPLES if name == rule.name]
    matching = [text for text in examples if rule.pattern.search(text)]
    assert matching
    for text in matching:
        assert not rule.keywords or any(keyword in text.lower() for keyword in rule.keywords)


def test_keywords_are_small_letters_without_blanks():
    # look.pl gets them in one argument, with blanks between.
    for keyword in scan.keywords():
        assert keyword == keyword.lower()
        assert not keyword.split()[1:]
