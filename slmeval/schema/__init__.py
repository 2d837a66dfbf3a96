"""The JSON Schemas of what slmeval writes."""
