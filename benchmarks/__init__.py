"""Speed, measured as ratios inside one run: the machines are noisy, ratios less so."""
