"""The JSON language of task chains: grammar, expressions, expansion, plan."""
