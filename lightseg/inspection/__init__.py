"""`lightseg data` and `lightseg.inspect_data`: a data set looked at before training."""
