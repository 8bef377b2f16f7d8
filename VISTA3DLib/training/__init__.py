"""Training networks of the VISTA3D family: the paper's four stages, and few-shot fine-tuning."""
