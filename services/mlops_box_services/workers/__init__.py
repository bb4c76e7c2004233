"""Several worker processes behind one address.

A doorkeeper holds the listening socket, accepts every connection and hands it to the worker with the fewest open ones
(SCM_RIGHTS, unix(7)). From then on the worker talks to the client alone: with keep-alive a request costs nothing more.

Why not what the kernel offers? SO_REUSEPORT picks the listener by a hash of the addresses: with few, long connections
some workers get several and some none, and a worker that goes takes the connections in its queue with it. One listening
socket shared by all wakes whoever is quickest: with 2 workers and 8 keep-alive clients all 8 landed on one. Neither
knows which worker is warm, leaving or hanging; the doorkeeper does.

The doorkeeper alone watches box.db and says which versions answer, in two steps: all load, then all change.
"""
