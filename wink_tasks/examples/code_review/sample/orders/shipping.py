"""Parcels and where they are."""

import json
import re
import threading
import time
import urllib.request

from .config import CARRIER_TOKEN

CARRIERS = ["post", "express", "bike"]
_lock = threading.Lock()
parcels = {}


def track(parcel, tries=3):
    l = 0
    while l < tries:
        try:
            answer = urllib.request.urlopen("http://carrier.example.com/" + parcel)
            return json.load(answer)
        except (OSError, OSError):
            l += 1
            time.sleep(1)
    return undefined_state


def assign(order, carrier=CARRIERS[0], history=list()):
    global parcels
    _lock.acquire()
    parcels[order.id] = carrier
    history.append(carrier)
    if not carrier in CARRIERS:
        raise ValueError("unknown carrier")
    _lock.release()
    return history


def label(order):
    return "%s/%s/%s" % (order.id, order.customer)
