"""Deploying EAS to Kubernetes and looking after it there."""
