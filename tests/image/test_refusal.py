"""How engines and registries word their refusals, and what a user is told: the sentences are real ones."""

import pytest

from womm.image.refusal import Doing, Request, is_absent, is_hidden, refused

HUB = "denied: requested access to the resource is denied"
NO_PULL = "pull access denied for x/y, repository does not exist or may require 'docker login'"


def request(doing=Doing.PUSH, *, has_login=False, name="reg.example.org/me/image:1"):
    return Request(doing, name, "reg.example.org", "docker", {}, has_login)


@pytest.mark.parametrize(
    ("why", "has_login", "meaning"),
    [
        ("no basic auth credentials", False, "wants a login"),
        ("unauthorized: authentication required", True, "does not accept the login"),
        ("unexpected status from HEAD request to https://x/v2/: 401 Unauthorized", False, "wants a login"),
        ("denied: Your authorization token has expired. Reauthenticate", True, "does not accept the login"),
        (HUB, False, "no right to push there, at least without a login"),
        (HUB, True, "no right to push"),
        ("error parsing HTTP 403 response body: unexpected end of JSON input", False, "no right to push"),
        (
            "push access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed",
            True,
            "no right to push",
        ),
        ("toomanyrequests: You have reached your pull rate limit", True, "sets a limit"),
        ('Get "https://x/v2/": http: server gave HTTP response to HTTPS client', False, "speaks plain HTTP"),
        ("x509: certificate signed by unknown authority", False, "does not know the certificate"),
        ('Get "https://x/v2/": dial tcp: lookup x: no such host', False, "cannot be reached"),
        ("dial tcp 10.0.0.1:443: i/o timeout", False, "cannot be reached"),
        ("write tcp 10.0.0.1:443: write: broken pipe", False, "the connection to reg.example.org has broken"),
        ("EOF", False, "the connection to reg.example.org has broken"),
        ("received unexpected HTTP status: 502 Bad Gateway", False, "has failed"),
        ("write /var/lib/x: no space left on device", False, "disk of the container engine is full"),
        ("something else", False, "reg.example.org/me/image:1 cannot be pushed: something else"),
    ],
)
def test_refusal_is_told_in_the_users_words(why, has_login, meaning):
    error = refused(request(has_login=has_login), why)
    assert meaning in error.message
    assert error.hint


def test_pull_that_is_denied_without_a_login_may_be_a_wrong_name():
    assert "no such image, or wants a login" in refused(request(Doing.PULL), NO_PULL).message
    found = refused(request(Doing.PULL, has_login=True), NO_PULL)
    assert "no right to pull" in found.message
    assert "--prefix" not in (found.hint or "")


def test_name_of_an_image_is_no_reason():
    one = request(name="reg.example.org/unauthorized-401/denied:1")
    found = refused(one, "cannot push reg.example.org/unauthorized-401/denied: 503 Service Unavailable")
    assert "reg.example.org has failed" in found.message


def test_missing_image_is_plain_or_hidden():
    assert is_absent("manifest unknown: manifest unknown")
    assert not is_absent(HUB)
    assert not is_absent(
        "manifest unknown: OCI manifest found, but accept header does not support OCI manifests"
    )
    assert is_hidden(HUB) and is_hidden("name unknown") and is_hidden("unauthorized")
    assert not is_hidden("connection refused")
    assert not is_hidden("x509: certificate signed by unknown authority")


def test_push_into_a_repository_that_must_be_made_first_is_told():
    why = "name unknown: The repository with name 'me/image' does not exist in the registry"
    assert "has no such repository" in refused(request(), why).message
    why = "An image does not exist locally with the tag: reg.example.org/me/image"
    assert "it is not on this machine any more" in refused(request(), why).message
    assert "there is no such image" in refused(request(Doing.PULL), "manifest unknown").message
