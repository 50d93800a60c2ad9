"""What looks like a secret, in files, variables and commands: rules, and the search for them.

Nothing here knows where a text comes from, or what is done about a finding.
"""
