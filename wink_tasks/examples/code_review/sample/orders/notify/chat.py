"""Messages to the team's chat."""

import json
import os
import urllib.request


def post(text, channel="#orders"):
    url = os.environ["CHAT_URL"]
    data = json.dumps({"channel": channel, "text": text}).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        answered = answer.read()
