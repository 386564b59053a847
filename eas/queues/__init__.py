"""Job queues: in memory, SQL, RabbitMQ."""
