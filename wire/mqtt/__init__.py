"""One MQTT 5 connection that keeps itself alive, on paho, beside which frames and answers pass.

connection      the story: connect, serve, lost, back off; what any thread may call
options         what a member wants of it          client          paho's client, connecting with credentials
network_thread  its thread, and posted calls       socket_loop     reading and writing; tcp: the socket below
reader          PUBLISH and PUBACK in, the rest    writer          all that is queued out at once
                for paho                           paho_io         both by paho alone
insides         what of paho's insides is used     handlers        what handlers raise
deliveries      what is received                   publish_queue   what is published, until its PUBACK
subscriptions   what is subscribed to              packets         a Publication, a Delivery
refusals        CONNACKs that refuse               losses          why there is no connection
pubacks         reason codes of PUBACKs            publish_properties   read and written in linear time
traits          what single brokers do differently reach           waiting for a broker, for a limited time
"""
