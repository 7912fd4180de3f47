"""What the suites share: the box under test, and what is known of it."""
