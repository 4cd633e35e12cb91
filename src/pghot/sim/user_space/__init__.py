"""pghot in user space on a released kernel, simulated: its loop, its costs, and what it may ask of the kernel."""
