"""The bundled demo model and sample rows; data alone, made by the scripts in `demo/`."""
