"""Training; a project's ``train.py`` needs nothing from here but :class:`TorchRecipe`."""

from mlops_box.training.recipe import TorchRecipe

__all__ = ["TorchRecipe"]
