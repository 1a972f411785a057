"""What the labels of a split are: counted before training, and for the page of `lightseg data`."""
