"""Links: the one way into a worker.

A link is a reliable stream of frames over a byte stream that may be cut at any moment: a Unix socket
on this machine, an exec in Kubernetes, ssh later. `frames` and `session` are sans-I/O (they neither read nor
wait); `client` pumps bytes between them and a transport, reconnects, and reports a loss.

Rejected: one connection per job (a `kubectl exec` costs 250 ms, an ssh login 100), ssh as the only
link (needs a daemon in the image), trusting the end of an exec stream (it says success when the
network drops: kubectl#1208). Assumption: both ends keep every byte until the other has acknowledged it, so a
cut costs a reconnect and nothing else.
"""
