"""A worker of several processes: front ends, each a whole worker, that share one engine process.

nanofleet worker --processes 2
├── engine process                 the models, once; see `worker.engines.shared`
├── front end ID-1 ── decoders     a session with the broker, as a worker by itself has it
└── front end ID-2 ── decoders

supervisor      starts them, starts those again that die, and ends them all
member          one of them, and how it has ended; forked starts it
front_end       one that notifies as well
engine_process  one that is ended when it is stuck
roles           what the two kinds do
shares          what of the settings each front end gets
notices         what a front end notifies as if to systemd
probe           the main of a container's health check, which asks all front ends
"""
