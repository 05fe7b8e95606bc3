"""An app of lists and registers, for recorded histories."""
