"""The sources of the lab: what each mechanism would have seen of a trace."""
