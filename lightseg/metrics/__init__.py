"""The official evaluators behind one thin interface each."""
