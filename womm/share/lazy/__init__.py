"""The lazy share, on the user's machine: nothing is copied ahead, the file server asks for what jobs use."""
