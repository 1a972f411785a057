"""The LightningModules and the LightningDataModule: training, on top of the library `lightseg`."""
