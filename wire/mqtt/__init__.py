"""One MQTT 5 connection that keeps itself alive, on paho (connection); what brokers do differently (traits)."""
