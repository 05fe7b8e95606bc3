"""The test harness for users' own tests. Nothing in the engine imports it."""
