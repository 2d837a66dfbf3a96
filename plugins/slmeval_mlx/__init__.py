"""Models on MLX: Apple silicon, and the CPU elsewhere."""
