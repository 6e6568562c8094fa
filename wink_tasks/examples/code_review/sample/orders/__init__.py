"""Orders: takes them, prices them, stores them, and tells people."""

from .models import *
from .store import OrderStore
from .pricing import price_order

__version__ = "0.4.2"
