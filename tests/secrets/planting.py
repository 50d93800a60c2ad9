"""Secrets to plant. They are made here, so that no text of the repository looks like one."""

import random
import string

BASE64 = string.ascii_letters + string.digits + "+/"
LETTERS = string.ascii_letters + string.digits
WORDS = LETTERS + "_-"
HEX = "0123456789abcdef"
SMALL = string.ascii_lowercase + string.digits
CAPITALS = string.ascii_uppercase + "234567"

PRIVATE = "PRIVATE" + " KEY"


def made(length: int, alphabet: str = LETTERS, seed: int = 1) -> str:
    """Return random text, the same each time."""
    return "".join(random.Random(f"{seed} {alphabet}").choices(alphabet, k=length))


def pem(kind: str = "RSA ", lines: int = 6) -> str:
    """Return what looks like a private key."""
    body = "\n".join(made(64, BASE64, seed) for seed in range(lines))
    return f"-----BEGIN {kind}{PRIVATE}-----\n{body}\n-----END {kind}{PRIVATE}-----\n"


def jwt() -> str:
    """Return what looks like a JSON web token."""
    return ".".join(("eyJ" + made(33, WORDS, 1), "eyJ" + made(60, WORDS, 2), made(43, WORDS, 3)))
