"""The commands of ``mlops-edge``: each with ``add_arguments(parser)`` and ``main(place, options) -> exit code``."""
