"""The container engine, docker or podman, and the images that womm has it make, pull and push.

The workers' image comes from a testbed (womm/testbed) or a Dockerfile; the file server's comes from
images/fileserver. The build of the latter fetches nothing: womm collects the contents on the user's side, so
an engine without a network is enough. Only this package and womm/testbed import the docker library.
"""
