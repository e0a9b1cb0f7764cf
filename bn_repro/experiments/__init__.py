"""One run, joined: data, network, training, probes, record and W&B."""
