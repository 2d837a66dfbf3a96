"""GGUF models on llama.cpp, through llama-cpp-python's low-level interface."""
