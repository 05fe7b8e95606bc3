"""Who calls: tokens of the app's providers, admin keys, and the built-in provider of passwords and sessions."""
