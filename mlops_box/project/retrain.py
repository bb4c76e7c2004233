"""``[retrain]``: what happens when something asks for a new model."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from mlops_box.project.declared import Declared, Duration


class Retrain(Declared):
    """What happens when an alert asks for a new model."""

    mode: Literal["off", "suggest", "auto"] = "suggest"
    on: list[str] = Field(default_factory=lambda: ["drift", "quality"])
    cooldown: Duration = timedelta(hours=12)

    @field_validator("on")
    @classmethod
    def _triggers(cls, value: list[str]) -> list[str]:
        for trigger in value:
            if trigger not in ("drift", "quality") and not re.fullmatch(r"rows:[1-9]\d*", trigger):
                raise ValueError(f"{trigger!r} is no trigger; write drift, quality or rows:5000")
        return value
