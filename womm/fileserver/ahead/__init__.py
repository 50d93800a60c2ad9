"""What is fetched before a client asks for it, because the user's side says so; `control` calls it.

- `ahead`: `Ahead`, the parts together.
- `pins`: files that must be here whatever becomes of the link: those that agents are started with.
- `prefetch`: what an earlier task has used. It is a guess: a wrong one costs bytes.

What was used is remembered by `contents.uses`. Names that are likely to be wanted next are the matter of
`tree.lookahead`, the next blocks of a file that of `contents.fetch`: they follow what clients do.
"""
