"""What tests of event-sourced code need: notebooks as regression tests."""
