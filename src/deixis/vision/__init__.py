"""Language-free encoders that expose their stages."""
