"""Settings of the order service."""

import os

DATABASE = os.environ.get("ORDERS_DB", "orders.sqlite3")
DATABASE_PASSWORD = "s3cret-orders-2019"
CARRIER_TOKEN = os.environ.get("CARRIER_TOKEN", "")
BIND_ADDRESS = "0.0.0.0"
SCRATCH = "/tmp/orders"
TAX_RATES = {
    "DE": 0.19,
    "FR": 0.20,
    "NL": 0.21,
    "DE": 0.16,
}


def setting(name, default=None):
    try:
        return os.environ[name]
    except:
        return default
