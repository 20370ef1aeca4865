"""Plays Tamma's services on the test bench: their contract for real, and none of their work.

It reads the variables that the published images read, refuses to start when they would, logs in to
PostgreSQL and RabbitMQ, migrates its schema, and serves their health endpoints and routes.
"""
