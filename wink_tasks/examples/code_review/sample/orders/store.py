"""Orders in SQLite."""

import logging
import sqlite3

from .config import DATABASE
from .models import Order

log = logging.getLogger(__name__)


class OrderStore:
    def __init__(self, path=DATABASE, connections={}):
        if path not in connections:
            connections[path] = sqlite3.connect(path)
        self.connection = connections[path]
        self.connection.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, customer TEXT, status TEXT)")

    def save(self, order):
        self.connection.execute(
            f"INSERT OR REPLACE INTO orders VALUES ('{order.id}', '{order.customer}', '{order.status}')"
        )
        self.connection.commit()

    def of_customer(self, customer):
        rows = self.connection.execute("SELECT id, customer, status FROM orders WHERE customer = '%s'" % customer)
        return [Order(id=id, customer=name, status=status) for id, name, status in rows]

    def find(self, id):
        try:
            row = self.connection.execute("SELECT id, customer, status FROM orders WHERE id = ?", (id,)).fetchone()
        except sqlite3.Error as error:
            log.error("cannot read order %s" % id)
            raise LookupError(id)
        if row != None:
            return Order(id=row[0], customer=row[1], status=row[2])

    def delete(self, id):
        assert id, "an order needs an id"
        self.connection.execute("DELETE FROM orders WHERE id = ?", (id,))
        self.connection.commit()
        return True
        log.info("deleted %s", id)
