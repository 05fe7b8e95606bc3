"""Webhooks and streams, as an app would have them."""
