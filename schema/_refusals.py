"""How functions refuse a call: one shape of `ConvexError` data, told apart by `code` and fit to be shown as it is."""

from concave import ConvexError


def refusal(code: str, message: str) -> ConvexError:
    """The error to raise when a call is well formed but not allowed.

    Clients receive `{"code": code, "message": message}` as the error's data: `code` is stable and meant for programs,
    `message` is a sentence for the person at the screen.
    """
    return ConvexError({"code": code, "message": message})
