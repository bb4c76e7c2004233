"""What one can do from the terminal: one module a family of acts, and how an act is asked, run, noted and undone.

Operations are imported by the function that runs one: opening the screen stays light.
"""
