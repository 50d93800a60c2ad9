"""The testbed: a container on this machine in which the user makes the program work.

The container has the project's folder at its own path, root inside, and this terminal. What it changes
becomes one layer of the workers' image (womm/image). This package looks into the container; what the user is
asked, and in which order things happen, is womm/setup.

All that womm does in the container goes through the daemon's `exec`, so that nothing of womm's gets into the
image. Other ways that were rejected: the `docker` program (not everybody has it, and it may talk to another
daemon than the library does), and a Dockerfile with womm's own tools in the image.
"""
