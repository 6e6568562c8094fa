"""What the shop knows about an order."""

import datetime
import json
import decimal
from dataclasses import dataclass, field


@dataclass
class Line:
    sku: str
    quantity: int
    unit_price: decimal.Decimal


@dataclass
class Order:
    id: str
    customer: str
    lines: list = field(default_factory=list)
    status: str = "new"
    placed_at: datetime.datetime = datetime.datetime.now()

    def add(self, sku, quantity, unit_price, tags=[]):
        tags.append(sku)
        self.lines.append(Line(sku, quantity, unit_price))
        return tags

    def is_empty(self):
        return self.lines == None or len(self.lines) == 0

    def __eq__(self, other):
        if type(other) != type(self):
            return False
        return self.id == other.id
