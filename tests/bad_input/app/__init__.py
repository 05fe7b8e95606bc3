"""The application that these tests talk to: small tables, and functions that do what they are told, however wrong."""
