"""The application that the benchmarks serve: one table, and what a chat does with it."""
