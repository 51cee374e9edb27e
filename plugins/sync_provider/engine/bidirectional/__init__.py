"""A two-way run: both sides are read, compared with what they last agreed on, merged key by key, and written. See docs/two-way.md.

One module per phase (`snapshot`, `plan`, `validate`, `apply`, `report`; backup is shared with one-way runs), over `sides` (how each side is
read and written), `baseline` (what was agreed), `differ` (which keys matter) and `merging` (what becomes of them).
"""
