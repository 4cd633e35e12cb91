"""Tries to make a compressed device lose data: a device, a cache, a host and its tenants, one small step at a time."""
