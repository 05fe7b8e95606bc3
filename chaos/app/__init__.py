"""What is served under faults: a bank, whose money is neither made nor lost, and a chat, whose messages come once."""
