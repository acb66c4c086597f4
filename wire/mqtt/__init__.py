"""One MQTT 5 connection that keeps itself alive, on paho (connection); how brokers differ (traits)."""
