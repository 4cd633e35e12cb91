"""The version of pghot. It is in a file of its own, so that code that needs it need not import the whole package."""

__version__ = "0.1.0"
