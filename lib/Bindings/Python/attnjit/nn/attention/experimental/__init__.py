"""The names of torch.nn.attention.experimental."""
