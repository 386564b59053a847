"""Private MariaDB and RabbitMQ on loopback, for tests, benchmarks and trying things out."""
