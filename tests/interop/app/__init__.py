"""The application that the official clients talk to in these tests."""
