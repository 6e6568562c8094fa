"""Figures for the morning mail."""

import collections
from collections import Counter


def by_status(orders):
    counts = Counter()
    for order in orders:
        counts[order.status] += 1
    return counts


def best_customers(orders, max=10):
    totals = collections.defaultdict(int)
    for order in orders:
        totals[order.customer] += sum(line.quantity * line.unit_price for line in order.lines)
    list = sorted(totals.items(), key=lambda pair: pair[1], reverse=True)
    return list[:max]


def average(orders):
    total = 0
    for order in orders:
        total += len(order.lines)
    try:
        return total / len(orders)
    except ZeroDivisionError:
        pass
    except:
        raise


def by_status(orders, status):
    return [order for order in orders if order.status == status]
