"""Files that hold secrets by their name."""

import pytest

from tests.secrets.planting import made, pem
from womm.secrets import scan

NAMED = [
    ("/root/.netrc", "machine a login b password c", "netrc"),
    ("/srv/app/.env", "MODE=fast", "environment file"),
    ("/srv/app/.env.production", "\nMODE=fast", "environment file"),
    ("/root/.docker/config.json", '{"auths": {"r": {"auth": "YTpi"}}}', "Docker login"),
    ("/root/.git-credentials", "https://me:word@host", "git credentials"),
    ("/root/.npmrc", "//r/:_authToken=word", "npm login"),
    ("/root/.pypirc", "[pypi]\npassword = word", "PyPI login"),
    ("/root/.m2/settings-security.xml", "<master>{word}</master>", "Maven login"),
    ("/etc/maven/settings.xml", "<server><password>word</password></server>", "Maven login"),
    ("/opt/maven/conf/settings.xml", "<passphrase> word</passphrase>", "Maven login"),
    ("/root/.aws/credentials", "[default]\naws_secret_access_key = word", "AWS credentials"),
    ("/root/.config/gcloud/credentials.db", "", "Google Cloud credentials"),
    ("/root/.kube/config", "users:\n- user:\n    token: word", "kubeconfig"),
    ("/srv/kubeconfig.yaml", "    client-key-data: word", "kubeconfig"),
    ("/root/.ssh/id_ed25519", pem("OPENSSH "), "SSH key"),
    ("/root/.bash_history", "ls", "shell history"),
    ("/home/me/.python_history", "1 + 1", "program history"),
    ("/root/.cache/huggingface/token", "word", "Hugging Face token"),
    ("/root/.pgpass", "host:5432:db:me:word", "PostgreSQL password"),
    ("/root/.my.cnf", "[client]\npassword=word", "MySQL password"),
    ("/etc/shadow", f"root:$y$j9T${made(22)}:1:0:::::", "password of an account"),
    ("/srv/app/store.p12", "", "key store"),
]


@pytest.mark.parametrize(("path", "text", "rule"), NAMED)
def test_file_with_a_telling_name_is_found(path, text, rule):
    assert scan.needs_content(path)
    assert rule in {finding.rule for finding in scan.scan([(path, text.encode())])}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/root/.netrc", "machine a login b"),
        ("/srv/app/.env", "# MODE=fast\n\n"),
        ("/srv/app/.env.example", "MODE=fast"),
        ("/root/.docker/config.json", '{"auths": {}, "credsStore": "pass"}'),
        ("/root/.npmrc", "//r/:_authToken=${NPM_TOKEN}"),
        ("/etc/maven/settings.xml", "<!-- <password>repopwd</password> -->"),
        ("/root/.kube/config", "users: []"),
        ("/root/.ssh/id_ed25519.pub", "ssh-ed25519 AAAA me"),
        ("/root/.ssh/known_hosts", "host ssh-ed25519 AAAA"),
        ("/root/.bash_history", "\n"),
        ("/etc/shadow", "root:*:1:0:99999:7:::\ndaemon:!:1:::::"),
        ("/root/netrc", "machine a login b password c"),
    ],
)
def test_file_without_a_secret_is_not_found(path, text):
    assert scan.scan([(path, text.encode())]) == []
