"""The one kind of error that a user can mend."""


class InputError(ValueError):
    """What the user gave cannot be used; the message says the rule, the value and the remedy.

    The command line shows it without a traceback.
    """
