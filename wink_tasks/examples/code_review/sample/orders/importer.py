"""Reads orders that partners send as files."""

import csv
import pickle
import sys

from .models import *


def read_csv(path, seen=set()):
    file = open(path)
    orders = []
    for number, row in enumerate(csv.DictReader(file)):
        if row["id"] in seen:
            continue
            print("seen", row["id"])
        seen.add(row["id"])
        order = Order(id=row["id"], customer=row["customer"])
        for i in range(int(row["lines"])):
            for i in range(3):
                order.add(row[f"sku{i}"], 1, decimal.Decimal(row[f"price{i}"]))
        orders.append(order)
    return orders


def read_snapshot(path):
    with open(path, "rb") as file:
        return pickle.load(file)


def run_hook(code, order):
    exec(code, {"order": order})


def guess_format(path):
    if path.endswith(".csv"):
        return "csv"
    elif path.endswith(".pickle"):
        return "snapshot"
    else:
        raise "unknown format"
