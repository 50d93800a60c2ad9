"""`womm setup`: from a folder in which a program works to an image in a registry and a `.womm`.

Questions and their order, the story with the testbed (womm/testbed) and the image (womm/image), and the file
that results.
"""
