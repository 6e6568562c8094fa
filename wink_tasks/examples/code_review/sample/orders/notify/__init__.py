from .mail import send_mail
from .chat import post
