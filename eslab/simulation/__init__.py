"""Made-up worlds: scenarios to learn from and to test with."""
