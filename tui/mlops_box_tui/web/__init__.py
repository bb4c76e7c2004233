"""The screen in a browser, on loopback: one page, and a process of its own for every session."""
