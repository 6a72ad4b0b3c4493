"""Code that runs inside Triton.

Each folder is a step, whose `model.py` Triton's Python backend calls. The modules beside it are
shared by the steps. The repository lays them out beside model.py under their own names
(`modelyard/serving/models/…`), where nothing else of ours is: they import each other, numpy and
OpenCV, nothing else.
"""
