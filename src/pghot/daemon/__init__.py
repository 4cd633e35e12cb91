"""The service around the live loop: configuration, socket, metrics, log."""
