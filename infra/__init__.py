"""Where EAS runs: services for tests, container images, Kubernetes, Prefect work pools."""
