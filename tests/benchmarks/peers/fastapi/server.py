"""What a user would write instead: Ultralytics' predict behind FastAPI and uvicorn.

    python server.py MODEL SIZE PORT

Takes an encoded image as the request's body and answers boxes as JSON. One model that answers
one request at a time (it is not made for threads), in uvicorn's one process.
"""

import sys
import threading

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from ultralytics import YOLO

model = YOLO(sys.argv[1], task="detect")
size = int(sys.argv[2])
lock = threading.Lock()
app = FastAPI()


def answer(data):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    with lock:
        boxes = model.predict(image, imgsz=size, verbose=False)[0].boxes
        return {
            "boxes": boxes.xyxy.tolist(),
            "scores": boxes.conf.tolist(),
            "classes": boxes.cls.int().tolist(),
        }


@app.post("/predict")
async def predict(request: Request):
    return await run_in_threadpool(answer, await request.body())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[3]), log_level="warning")
