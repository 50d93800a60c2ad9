"""Images that womm makes with docker: today the file server's, from images/fileserver.

Nothing is fetched from within a build: what goes into an image is collected on the user's side, so a
daemon without a network does. The docker library is imported here alone.
"""
