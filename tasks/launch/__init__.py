"""Many runs: sweeps, launchers and Optuna."""
