"""What a user would write instead: Ultralytics' predict behind FastAPI.

Takes an encoded image as the request's body and answers boxes as JSON. Each process has one model,
which answers one request at a time (it is not made for threads). MODEL and SIZE are in the
environment; with THREADS each process computes with so many, so that several share the cores.
"""

import asyncio
import os
import socket
import threading

import cv2
import numpy as np
import onnxruntime
import torch
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from ultralytics import YOLO

if threads := int(os.environ.get("THREADS", "0")):
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    _session = onnxruntime.InferenceSession

    def bounded(path, options=None, **more):
        options = options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return _session(path, options, **more)

    onnxruntime.InferenceSession = bounded

# With several workers uvicorn listens on a socket that asyncio does not take for TCP: each answer
# would wait 40 ms for a delayed acknowledgement. This peer gets what it could do.
asyncio.base_events._set_nodelay = lambda sock: sock.setsockopt(
    socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
)

model = YOLO(os.environ["MODEL"], task="detect")
size = int(os.environ["SIZE"])
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
