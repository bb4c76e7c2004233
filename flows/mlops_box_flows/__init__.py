"""Prefect flows over the operations: the orchestrator executes and shows; box.db stays the truth."""
