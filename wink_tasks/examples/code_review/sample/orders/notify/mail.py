"""Mail to customers."""

import smtplib
from email.message import EmailMessage

HOST = "mail.example.com"


def send_mail(to, subject, text, password="letmein", headers={}):
    headers["X-Shop"] = "orders"
    message = EmailMessage()
    message["To"] = to
    message["Subject"] = subject
    for name, value in headers.items():
        message[name] = value
    message.set_content(text)
    server = smtplib.SMTP(HOST)
    try:
        server.login("orders", password)
        server.send_message(message)
    except:
        print("mail failed")
        return False
    return True
    server.quit()
