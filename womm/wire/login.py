"""How the two ends log in: an SSH connection that the user's machine opens, and on which it is the server.

Both ends are womm's own: nothing is offered for the sake of anyone else.
"""

from typing import Final

USER: Final = "womm"
SFTP: Final = "sftp"
CONTROL: Final = "womm-control"
"""The two subsystems."""
KEY_EXCHANGE: Final = ("curve25519-sha256",)
ENCRYPTION: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""On processors without AES instructions too: chacha20 costs three times aes128-gcm in Python."""
WINDOW_BYTES: Final = 16 << 20
"""What may be on its way: 20 MB/s need 1 MB at 50 ms; a fast link must not wait for its window."""
PACKET_BYTES: Final = 128 << 10
"""With more the copies that asyncssh makes leave the processor's cache and cost page faults; with asyncssh's
own 32 KiB its packets cost several times the CPU."""
KEEPALIVE_S: Final = 15
KEEPALIVES: Final = 3
"""A connection that was silent for so many of them is dead: after 45 s."""
LOGIN_TIMEOUT_S: Final = 30
