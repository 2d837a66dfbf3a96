"""Our own metrics, filters, reporters and executors. Plugins like any other: they see the ground alone."""
