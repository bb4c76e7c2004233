"""``python -m mlops_box`` is ``mlops-box``."""

from mlops_box.cli.main import main

if __name__ == "__main__":
    main()
