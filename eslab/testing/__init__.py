"""For tests of event-sourced code: given/when/then, fixtures, notebooks as regression tests."""

from eslab.testing.read_models import GivenRows
from eslab.testing.specification import Given, Outcome, given

__all__ = ["Given", "GivenRows", "Outcome", "given"]
