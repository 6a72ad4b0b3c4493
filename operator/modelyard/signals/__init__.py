"""Figures of single images and answers, from which drift is told.

Evaluation computes them on the holdout (workloads/evaluate/profiling.py), the agent on a sample of
the requests, with this one code, so that both can be compared.

    images.py       how an image looks, and what its scene is made of: from its pixels
    detections.py   what the network answered: boxes, classes, areas, best raw score
    embeddings.py   what the network saw: embeddings as a few comparable numbers

All are pure functions of arrays; nothing of ours is imported. What a profile keeps of them:
contract/profile.py.
"""
