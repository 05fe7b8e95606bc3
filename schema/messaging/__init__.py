"""Channels and what is said in them.

`channels.py` and `members.py` are the rooms and the people in them, `messages.py` and `reactions.py` what is said,
`typing.py` who is about to say something.
"""
