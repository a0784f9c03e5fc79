"""The edges: one outside thing per file, and no policy in any of them."""
