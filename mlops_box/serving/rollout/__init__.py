"""Rollout: how a new version becomes champion, or does not, by itself and with evidence.

``states`` says what may follow what, ``assign`` who answers a request, ``evidence`` what is counted, ``sequential`` and
``verdict`` what the counts prove, ``breaker`` when not to wait for proof, ``store`` keeps it in box.db, ``driver`` moves it on.
"""
