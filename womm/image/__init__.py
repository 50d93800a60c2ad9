"""Images that womm makes with docker: today the file server's, from images/fileserver.

A build fetches nothing: womm collects the contents of an image on the user's side, so a docker daemon
without a network is enough. Only this package imports the docker library.
"""
