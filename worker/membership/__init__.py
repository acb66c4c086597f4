"""This worker among the others.

identity        a stable id, held by one process on a machine
presence        its status and its beacon; duplicates of it
peers           the others: which take frames, and which have died
claims          which workers drain, or have drained, a dead one's session
adoptions       whom this worker adopts, and when
adoption        one dead worker's session: taken over, drained, ended
session_drain   emptying a session, an adopted one or this worker's own
pacing          stepping aside for faster workers
dispute         whether another worker uses this one's session
leave           leaving for good
"""
