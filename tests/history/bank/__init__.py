"""An app whose mutations wait for each other between what they read and what they write."""
