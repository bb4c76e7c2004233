"""A model's life over time as one HTML page: drift, quality, versions, rollouts, decisions."""

from mlops_box.operations.report.write import ReportOutcome, write_picture, write_report

__all__ = ["ReportOutcome", "write_picture", "write_report"]
