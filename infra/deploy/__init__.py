"""Deployment and operation of EAS on Kubernetes."""
