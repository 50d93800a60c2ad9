"""Secrets: 20 planted ones are named, none is shown; what only looks like one is left alone."""

import tarfile

import pytest

from tests.realcluster import debian
from tests.secrets.planting import BASE64, CAPITALS, HEX, PRIVATE, SMALL, jwt, made, pem
from womm.secrets import scan
from womm.secrets.scan import Finding

GOOD = made(20)
"""A value that counts as a secret."""
PLANTED = [
    ("/root/.bash_history", f"ls\nexport DB_PASSWORD={made(14)}\n"),
    ("/root/.docker/config.json", f'{{"auths": {{"r.example": {{"auth": "{made(32, BASE64)}"}}}}}}'),
    ("/root/.netrc", f"machine r.example login me password {made(12)}"),
    ("/root/.ssh/id_rsa", pem()),
    ("/root/.ssh/id_ed25519", pem("OPENSSH ")),
    ("/etc/ssl/private/server.key", pem("")),
    ("/root/.aws/credentials", f"[default]\naws_secret_access_key = {made(40, BASE64)}"),
    ("/opt/gcp.json", f'{{"type": "service_account", "private_key_id": "{made(40, HEX)}"}}'),
    ("/root/.azure/accessTokens.json", "[]"),
    ("/root/.kube/config", f"users:\n- name: me\n  user:\n    client-key-data: {made(400, BASE64)}"),
    ("/opt/app/main.py", 'import os\nTOKEN = "ghp_' + made(36) + '"\n'),
    ("/opt/app/slack.js", f"const bot = 'xoxb-{made(12, '123456789')}-{made(12, '123456789')}-{made(24)}'"),
    ("/opt/app/config.yaml", f"database:\n  password: {made(16)}\n"),
    ("/opt/app/settings.ini", f"[api]\napi_key = {made(32, SMALL)}\n"),
    ("/opt/app/.env", f"SECRET_KEY={made(30)}\n"),
    ("/root/.npmrc", f"//registry.example/:_authToken={made(36)}\n"),
    ("/root/.pypirc", "[pypi]\nusername = __token__\npassword = pypi-AgEIcHlwaS5vcmc" + made(100)),
    ("/root/.git-credentials", f"https://me:{made(20)}@git.example.org"),
    ("/opt/app/deploy.sh", f"curl -H 'Authorization: Bearer {jwt()}' https://a.example.org\n"),
    ("/opt/app/aws.tf", 'access_key = "AKIA' + made(16, CAPITALS) + '"\n'),
]


def test_twenty_planted_secrets_are_twenty_named_files():
    assert len(PLANTED) == 20
    found = scan.scan((path, text.encode()) for path, text in PLANTED)
    assert {finding.path for finding in found} == {path for path, _ in PLANTED}


def test_finding_never_shows_its_value():
    for path, text in PLANTED:
        shown = "".join(f"{finding}{finding!r}" for finding in scan.scan([(path, text.encode())]))
        words = {word for word in text.replace('"', " ").replace("'", " ").split() if len(word) >= 12}
        assert not [word for word in words if word in shown and word not in path]


def test_finding_names_the_place():
    text = f"a\nb\npassword = {GOOD}\n"
    [finding] = scan.scan([("/opt/a b.conf", text.encode())])
    assert finding == Finding("/opt/a b.conf", 3, "assigned secret")
    assert str(finding) == "/opt/a b.conf, line 3: assigned secret"


def test_service_token_in_an_assignment_is_one_finding():
    found = scan.scan([("/opt/app.conf", ("token = ghp_" + made(36)).encode())])
    assert [finding.rule for finding in found] == ["GitHub token"]


@pytest.mark.parametrize(
    "line",
    [
        f'password = "{GOOD}"',
        f"'api_key': '{GOOD}',",
        f'client_secret="{GOOD}"',
        f'config["token"] = "{GOOD}"',
        f'private String dbPassword = "{made(12)}";',
    ],
)
def test_assignment_in_a_program_is_found(line):
    assert scan.scan([("/opt/a.py", line.encode())])


@pytest.mark.parametrize(
    "line",
    [
        "password = getpass.getpass()",
        'password = "password"',
        'token = "your-token-here-123"',
        'token = os.environ["TOKEN_2"]',
        'secret = "${SECRET_1}"',
        'api_key = "<api key 1>"',
        'password = ""',
        'token = "authorization_code2"',
        'secret_path = "/etc/ssl/private/key1.pem"',
        'token_url = "https://example.org/oauth2/token"',
        "access_key = AKIAIOSFODNN7EXAMPLE",
        f"-----BEGIN {PRIVATE}-----",
        'url = "http://user:password@host/"',
        'url = "http://%s:%s@host/"',
    ],
)
def test_program_without_a_secret_is_left_alone(line):
    assert scan.scan([("/opt/a.py", line.encode())]) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/opt/app/config.py", 'DB_PASSWORD = "hunter2"'),
        ("/opt/app/app.ini", "password = hunter2"),
        ("/opt/app/app.yaml", "  smtp_pass: 'Tr0ub4dor&3'"),
        ("/opt/app/data.json", '{"password": "s3cr3t"}'),
        ("/opt/app/notes.txt", f"token: {GOOD}"),
        ("/etc/environment", f"API_KEY={made(32, HEX)}"),
        ("/opt/app/key.txt", f"-----BEGIN {PRIVATE}-----\nMIIBVAIBADANBg==\n-----END {PRIVATE}-----"),
        ("/opt/app/db.conf", "url = postgres://app:hunter2@db/prod"),
    ],
)
def test_weak_secret_of_an_application_is_found(path, line):
    assert scan.scan([(path, line.encode())])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/usr/lib/python3/dist-packages/a/tests/test_a.py", pem()),
        ("/usr/local/lib/python3.12/test/certdata/key.pem", pem()),
        ("/usr/share/doc/a/examples/key.pem", pem()),
        ("/usr/lib/python3/dist-packages/a-1.egg-info/PKG-INFO", jwt()),
        ("/usr/share/a/words.json", '{"password": "s3cr3t"}'),
    ],
)
def test_examples_of_installed_packages_are_left_alone(path, text):
    assert scan.scan([(path, text.encode())]) == []


def test_token_of_a_service_counts_everywhere():
    assert scan.scan([("/usr/share/doc/a/README.md", ("ghp_" + made(36)).encode())])


def test_assignment_in_a_page_is_an_example():
    line = f"password = {GOOD}".encode()
    assert scan.scan([("/opt/app/README.md", line), ("/usr/share/doc/app/guide", line)]) == []


def test_binary_is_told_by_its_name_only():
    data = b"\0" + pem().encode()
    found = scan.scan([("/opt/program", data), ("/root/.azure/msal_token_cache.bin", data)])
    assert [finding.path for finding in found] == ["/root/.azure/msal_token_cache.bin"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITHUB_TOKEN", "anything"),
        ("DB_PASSWORD", "hunter22"),
        ("AWS_SECRET_ACCESS_KEY", "word"),
        ("OPENAI_API_KEY", "word"),
        ("PGPASSWORD", "word"),
        ("apiKey", "word"),
        ("MYSQL_PWD", "word"),
        ("DATABASE_URL", f"postgres://me:{made(9)}@db/x"),
        ("ANYTHING", "ghp_" + made(36)),
    ],
)
def test_variable_with_a_secret_is_found(name, value):
    assert [finding.path for finding in scan.in_variables({"MODE": "fast", name: value})] == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODE", "fast"),
        ("PATH", "/usr/bin:/bin"),
        ("OLDPWD", "word"),
        ("SSH_AUTH_SOCK", "/run/agent"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("MAX_TOKENS", "1024"),
        ("TOKEN_FILE", "tokens.txt"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/opt/gcp.json"),
        ("GITHUB_TOKEN", ""),
        ("KEYBOARD", "english-uk"),
        ("COMPASS", "north"),
        ("DATABASE_URL", "postgres://db/x"),
    ],
)
def test_variable_without_a_secret_is_left_alone(name, value):
    assert scan.in_variables({name: value}) == []


@pytest.mark.parametrize(
    "command",
    [
        "export TOKEN=hunter22",
        "PGPASSWORD='word' psql -h db",
        "docker login -u me -p word r.example",
        "curl -u me:word https://a.example.org",
        f"git clone https://me:{made(20)}@git.internal/a",
        "mysql -uroot -pword db",
        "tool --token word",
        "tool --password=word12",
        "echo one\nexport API_KEY=word",
        "echo 'machine a.example.org login me password word12abc' >/root/.netrc",
        "echo root:word | chpasswd",
        "aws configure set aws_secret_access_key word12",
        "npm config set //npm.example.org/:_authToken word12",
        "curl -H 'PRIVATE-TOKEN: word12' https://a.example.org",
        "curl 'https://a.example.org/x?access_token=word12'",
        "htpasswd -bc users me word",
        "useradd -p word me",
        "echo word | sudo -S true",
        "unzip -P word a.zip",
    ],
)
def test_command_with_a_secret_is_found(command):
    assert scan.in_text(command)


@pytest.mark.parametrize(
    "command",
    [
        "apt-get update && apt-get install -y jq",
        "export MODE=fast",
        "apt-get install passwd=1:4.13+dfsg1-1",
        "pip install token-bucket==1.2.3 passlib",
        "docker login --password-stdin",
        'curl -u "$ME:$WORD" https://a.example.org',
        "export PATH=/opt/bin:$PATH",
        "tool --token-file /run/token",
        "apt-get install -y passwd login libsecret-1-dev password-store python3.11",
        "pip install tokenizers==0.15",
        "npm config set token-helper x",
        "openssl req -keyout k.pem",
        "ssh-keygen -A",
    ],
)
def test_command_without_a_secret_is_left_alone(command):
    assert scan.in_text(command) == []


def test_many_findings_of_a_file_are_cut():
    text = "".join("ghp_" + made(36, seed=seed) + "\n" for seed in range(50))
    assert len(scan.scan([("/opt/tokens.txt", text.encode())])) == 20


@pytest.mark.slow
def test_plain_debian_with_python_has_no_finding():
    with tarfile.open(debian.python_layer()) as layer:
        members = [member for member in layer if member.isreg() and member.size <= scan.LARGEST_TEXT]
        files = [(member.name.lstrip("."), layer.extractfile(member)) for member in members]
        assert len(files) > 4000
        assert scan.scan((path, file.read()) for path, file in files if file is not None) == []


def test_files_that_are_secrets_by_their_name_alone_and_texts_of_programs_are_told_apart():
    assert scan.by_name_alone("/opt/x/keys.p12") == "key store"
    assert scan.by_name_alone("/root/.config/gcloud/credentials.db") == "Google Cloud credentials"
    assert scan.by_name_alone("/root/.netrc") == ""  # that depends on what is in it
    assert scan.is_program_text("/usr/lib/python3/x.py") and scan.is_program_text(
        "/usr/include/c++/12/vector"
    )
    assert not scan.is_program_text("/usr/share/x/settings.ini")
