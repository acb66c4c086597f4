"""`nanofleet provision`: certificates, passwords, ACL and configuration of a Mosquitto."""
