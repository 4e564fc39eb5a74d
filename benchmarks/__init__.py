"""One script per question; dated results lie in results/."""
