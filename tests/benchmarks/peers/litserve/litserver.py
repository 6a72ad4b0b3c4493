"""Ultralytics' predict behind LitServe, as its documentation shows: one worker process.

    python litserver.py MODEL SIZE PORT

Takes JSON with an encoded image as base64 text and answers boxes as JSON: it reads no other bodies.
"""

import base64
import sys

import cv2
import litserve
import numpy as np
from ultralytics import YOLO


class Detector(litserve.LitAPI):
    """One model."""

    def setup(self, device):
        self.model = YOLO(sys.argv[1], task="detect")
        self.size = int(sys.argv[2])

    def decode_request(self, request):
        data = base64.b64decode(request["image"])
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def predict(self, image):
        return self.model.predict(image, imgsz=self.size, verbose=False)[0].boxes

    def encode_response(self, boxes):
        return {
            "boxes": boxes.xyxy.tolist(),
            "scores": boxes.conf.tolist(),
            "classes": boxes.cls.int().tolist(),
        }


if __name__ == "__main__":
    server = litserve.LitServer(Detector(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[3]), log_level="warning",
               generate_client_file=False)  # fmt: skip
