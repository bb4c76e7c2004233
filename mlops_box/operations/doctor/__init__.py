"""Is this installation fit to work, and if not, how to mend it."""

from mlops_box.operations.doctor.checks import Check
from mlops_box.operations.doctor.examine import Diagnosis, examine

__all__ = ["Check", "Diagnosis", "examine"]
