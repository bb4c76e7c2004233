"""When something happened on a device whose clock may be wrong.

A device notes with every record its machine's boot, the monotonic time and the wall time. Where the box has once seen
both of its clocks side by side (a push or a pull: the reading is as old as the request), the monotonic clock of that boot
dates its records, however the wall clock was set meanwhile. Records of other boots get the wall clock's last known
offset, and never a time after the box received them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Below this a difference is the way of the message, not the clock's.
TOLERANCE_US = 2_000_000


@dataclass(frozen=True)
class Reading:
    """Both clocks of a device at one moment; microseconds.

    Attributes:
        machine_boot: The kernel's boot id: within it the monotonic clock runs on.
    """

    machine_boot: str
    mono_us: int
    wall_us: int


@dataclass(frozen=True)
class DeviceClock:
    """What the box knows of a device's clocks.

    Attributes:
        zeros_us: Machine boot to the box's time when its monotonic clock stood at zero.
        offset_us: The box's clock less the device's when they were last compared; ``None``: never.
    """

    zeros_us: Mapping[str, int] = field(default_factory=dict)
    offset_us: int | None = None

    def compared(self, reading: Reading, now_us: int) -> DeviceClock:
        """After both clocks were seen at ``now_us``; a difference within the tolerance changes nothing, so that a record is
        dated alike by every sync."""
        zero_us = now_us - reading.mono_us
        known_us = self.zeros_us.get(reading.machine_boot)
        if known_us is not None and abs(known_us - zero_us) <= TOLERANCE_US:
            zero_us = known_us
        return DeviceClock({**self.zeros_us, reading.machine_boot: zero_us}, now_us - reading.wall_us)

    def happened_us(self, boot: str, mono_us: int, wall_us: int, *, now_us: int) -> int:
        """The box's time of a record.

        Args:
            boot: The record's boot: the machine's boot id, ``-``, the count of starts.
            now_us: When the box received it.
        """
        zero_us = self.zeros_us.get(machine_boot(boot))
        if zero_us is not None:
            right_us = zero_us + mono_us
        elif self.offset_us is not None and abs(self.offset_us) > TOLERANCE_US:
            right_us = wall_us + self.offset_us
        else:
            right_us = wall_us
        if abs(right_us - wall_us) <= TOLERANCE_US:
            right_us = wall_us
        return min(right_us, now_us + TOLERANCE_US)


def machine_boot(boot: str) -> str:
    """The kernel's part of a boot.

    >>> machine_boot("0f9c-17")
    '0f9c'
    """
    return boot.rpartition("-")[0] or boot
