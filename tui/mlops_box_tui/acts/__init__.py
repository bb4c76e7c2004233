"""What one can do from the terminal: one module a family of acts, and how an act is asked, run, noted and undone."""
