"""For tests of event-sourced code: given/when/then, fixtures, notebooks as regression tests."""

from eslab.testing.specification import Given, Outcome, given

__all__ = ["Given", "Outcome", "given"]
