"""One MQTT 5 connection that keeps itself alive, on paho: see connection. What brokers do differently: traits."""
