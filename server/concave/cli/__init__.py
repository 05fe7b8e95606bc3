"""The `concave` command."""
