"""Floor 2a: the equations of diffusion on tensors and callables; torch only."""
