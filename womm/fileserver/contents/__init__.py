"""What is in the files: blocks that come from the user's side, and writes that go there."""
