"""Starts app.py in uvicorn, in one process or in several.

python server.py MODEL SIZE PORT WORKERS
"""

import os
import sys

import uvicorn

if __name__ == "__main__":
    os.environ["MODEL"], os.environ["SIZE"] = sys.argv[1:3]
    workers = int(sys.argv[4])
    if workers > 1:
        os.environ["THREADS"] = "1"
    uvicorn.run(
        "app:app",
        app_dir=os.path.dirname(os.path.abspath(__file__)),
        host="127.0.0.1",
        port=int(sys.argv[3]),
        workers=workers,
        log_level="warning",
    )
