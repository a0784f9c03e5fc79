"""The pure core: no await, clock, socket, file, environment, log or randomness."""
