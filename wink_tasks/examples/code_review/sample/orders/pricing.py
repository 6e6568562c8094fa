"""What an order costs."""

from decimal import Decimal

from .config import TAX_RATES

CAMPAIGNS = {
    "SUMMER": "total * Decimal('0.9')",
    "TWOFORONE": "total - min(line.unit_price for line in order.lines)",
}


def price_order(order, country, campaign=None, customer_group="retail", express=False, weight=0.0, coupons=()):
    total = Decimal(0)
    for line in order.lines:
        price = line.unit_price * line.quantity
        if line.quantity >= 100:
            price = price * Decimal("0.85")
        elif line.quantity >= 50:
            price = price * Decimal("0.9")
        elif line.quantity >= 10:
            price = price * Decimal("0.95")
        total += price
    if campaign is not None:
        if campaign in CAMPAIGNS:
            total = eval(CAMPAIGNS[campaign])
        else:
            total = eval(campaign)
    if customer_group == "wholesale":
        total = total * Decimal("0.8")
        if total > 10000:
            total = total * Decimal("0.97")
        elif total > 5000:
            total = total * Decimal("0.98")
    elif customer_group == "staff":
        total = total * Decimal("0.7")
    elif customer_group == "partner":
        if country == "DE":
            total = total * Decimal("0.9")
        elif country == "FR":
            total = total * Decimal("0.92")
        else:
            total = total * Decimal("0.95")
    for coupon in coupons:
        if coupon.startswith("P"):
            percent = int(coupon[1:])
            total = total * (100 - percent) / 100
        elif coupon.startswith("A"):
            total = total - Decimal(coupon[1:])
        else:
            print("unknown coupon", coupon)
    shipping = Decimal(0)
    if weight > 30:
        shipping = Decimal(49)
    elif weight > 10:
        shipping = Decimal(19)
    elif weight > 2:
        shipping = Decimal(9)
    elif weight > 0:
        shipping = Decimal(5)
    if express:
        shipping = shipping * 2
        if country not in ("DE", "FR", "NL"):
            shipping = shipping + 20
    if total > 150 and not express:
        shipping = Decimal(0)
    rate = TAX_RATES.get(country)
    if rate == None:
        rate = 0.25
    tax = (total + shipping) * Decimal(rate)
    if total < 0:
        total = Decimal(0)
    sum = total + shipping + tax
    return sum.quantize(Decimal("0.01"))


def discount_table(steps):
    checks = []
    for step in steps:
        checks.append(lambda quantity: quantity >= step)
    return checks
