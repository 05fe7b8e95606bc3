"""The Starlette application: sync endpoint and public API."""
