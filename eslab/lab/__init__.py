"""The lab: the one place that wires everything together."""

from eslab.lab.branch import Branch
from eslab.lab.lab import Lab

__all__ = ["Branch", "Lab"]
