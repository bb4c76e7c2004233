"""Building blocks of the screens, one a module."""
