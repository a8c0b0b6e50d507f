"""Numbers that wrong signers write otherwise than they send them: the nonce, the order id, the timestamp."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from tn_contract.diagnosis.signers import SECONDS, Case

# A mistake (or a kind of one), its grade, and the text that was signed.
Number: TypeAlias = "tuple[str, int, str]"
# Name and text of a part as sent, and what may have been signed instead.
Swaps: TypeAlias = "tuple[str, str, list[Number]]"

# What is printed around the digits, by kind.
_AROUND = (
    ("as-float", 2, "{}.0"), ("as-float", 4, "{}.00"), ("as-float", 4, "{},0"),
    ("as-float", 4, "{}.000000"),
    ("quoted", 2, '"{}"'), ("quoted", 4, "'{}'"), ("quoted", 4, '\\"{}\\"'), ("quoted", 4, "`{}`"),
    ("padded", 4, " {}"), ("padded", 4, "+{}"), ("padded", 4, "-{}"), ("padded", 3, "0{}"),
    ("padded", 4, "00{}"), ("padded", 4, "{}L"), ("padded", 4, "{}n"), ("padded", 4, "#{}"),
    ("quoted", 4, "[{}]"), ("quoted", 4, "['{}']"), ("quoted", 4, '["{}"]'),
    ("quoted", 4, "({})"), ("quoted", 4, "Some({})"), ("quoted", 4, "Optional({})"),
    ("quoted", 4, 'Optional("{}")'), ("quoted", 4, "b'{}'"), ("quoted", 4, "Decimal('{}')"), ("quoted", 4, "{{{}}}"),
)  # fmt: skip
_FIXED_WIDTHS = (10, 12, 13, 16, 18, 19, 20)
_UNITS = (3, 4, 6, 7, 9, 1, 2, 5, 8)  # powers of ten between the clocks' units
_NONCES = ("0", "", "1", "None", "null", "undefined", "NaN", "<nonce>", "nonce", "-1", "[object Object]")
_ORDERS = ("0", "1", "", "None", "null", "undefined", "NaN", "2929292929", "-1", "<order_id>", "order_id", "12345",
           "[object Object]")  # fmt: skip
_LONGEST = 30


def number_forms(text: str) -> Iterator[Number]:
    """Other texts of a whole number as programs write it: the kind of change, its grade, the text."""
    if not (text.isascii() and text.isdigit()) or len(text) > _LONGEST:
        return
    number = int(text)
    for kind, grade, form in _AROUND:
        yield kind, grade, form.format(text)
    for width in _FIXED_WIDTHS:
        if len(text) < width:
            yield "padded", 4, text.zfill(width)
    yield from _exponents(float(number))
    yield "rounded", 2, str(int(float(number)))
    yield "rounded", 4, f"{float(number):.1f}"
    for kept in (17, 15, 14, 7):
        if len(text) > kept:
            yield "rounded", 4, str(int(float(f"{float(number):.{kept - 1}e}")))
    for bits in (32, 31):
        low = number % 2**bits
        yield "wrapped", 3 if bits == 32 else 4, str(low - 2**bits if bits == 32 and low >= 2**31 else low)
        yield "wrapped", 4, str(low)
    yield "wrapped", 4, str(2**31 - 1)
    yield "wrapped", 4, str(2**32 - 1)
    for between in (",", " ", ".", "_", "'", "\u00a0", "\u202f"):
        yield "grouped", 4, f"{number:,}".replace(",", between)
    for form in ("0x{:x}", "{:x}", "{:X}", "0x{:X}", "0o{:o}", "{:o}", "0b{:b}", "{:b}"):
        yield "grouped", 4, form.format(number)
    yield "grouped", 4, _base36(number)


def _exponents(real: float) -> Iterator[Number]:
    mantissa, _, exponent = f"{real:.16e}".partition("e")
    digits, power = mantissa.rstrip("0").rstrip("."), int(exponent)
    short = next((form for places in range(17) if float(form := f"{real:.{places}e}") == real), mantissa)
    short = short.partition("e")[0]
    # PHP prints 14 digits and a capital E, Python and JavaScript as many as it takes.
    php = f"{real:.13e}".partition("e")[0].rstrip("0").rstrip(".")
    for base in dict.fromkeys((short, php, digits)):
        whole = base if "." in base else f"{base}.0"
        yield "in-exponent", 2 if base is short else 4, f"{base}e+{power:02d}"
        yield "in-exponent", 2 if base == php else 4, f"{whole}E+{power}"
        yield "in-exponent", 4, f"{base}E+{power}"
        yield "in-exponent", 3 if base is short else 4, f"{whole}E{power}"  # Java
        yield "in-exponent", 4, f"{base}E+{power:02d}"
        yield "in-exponent", 4, f"{whole}e+{power:02d}"
        yield "in-exponent", 4, f"{whole}e{power}"
        yield "in-exponent", 4, f"{base}e{power}"
    yield "in-exponent", 4, f"{real:e}"
    yield "in-exponent", 4, f"{real:E}"
    yield "in-exponent", 4, f"{real:g}"
    yield "in-exponent", 4, f"{real:G}"


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + text
    return text or "0"


def _nonces(case: Case) -> Iterator[Number]:
    """Other nonces that a client may have signed."""
    if case.nonce.isascii() and case.nonce.isdigit() and len(case.nonce) < _LONGEST:
        number = int(case.nonce)
        for power in _UNITS:
            if number >= 10 ** (power + 8):
                yield (
                    "nonce-in-other-unit",
                    2 if power in (4, 7) else 3 if power in (1, 3) else 4,
                    str(number // 10**power),
                )
                yield "nonce-in-other-unit", 4, str(number // 10**power * 10**power)
        for power in _UNITS:
            yield "nonce-in-other-unit", 3 if power == 3 else 4, str(number * 10**power)
        for step in (1, 2, 4, 10, 100, 1000, 10_000, 10_000_000):
            yield "other-nonce", 2 if step == 1 else 4, str(number + step)
            yield "other-nonce", 3 if step == 1 else 4, str(number - step)
        if number >= 10**15:
            yield "nonce-in-other-unit", 4, f"{number / 10**7:.6f}"
            yield "nonce-in-other-unit", 4, repr(number / 10**7)
        # Seconds, where the digits behind them are a fraction.
        for digits in range(1, min(len(case.nonce) - SECONDS, 9) + 1):
            whole, fraction = case.nonce[:SECONDS], case.nonce[SECONDS : SECONDS + digits]
            yield "nonce-in-other-unit", 4, f"{whole}.{fraction}"
        for other in (case.nonce[:-1], case.nonce[1:], case.nonce[::-1], f"{case.nonce}0", f"{case.nonce}1"):
            yield "other-nonce", 4, other
    for stamp in case.stamps:
        yield "other-nonce", 4, stamp
    for earlier in case.earlier:
        if isinstance(nonce := earlier.get("nonce"), str):
            yield "other-nonce", 2, nonce
    for text in (*_NONCES, case.order[1]):
        yield "other-nonce", 4, text


def other_orders(case: Case) -> Iterator[Number]:
    """List other order ids that a client may have signed: the mistake, its grade, the text."""
    _name, text = case.order
    if text.isascii() and text.isdigit() and len(text) < _LONGEST:
        for step in (1, -1, 2, -2, 10, -10):
            yield "other-order-id", 2 if step == 1 else 3 if step == -1 else 4, str(int(text) + step)
        for other in (text[:-1], text[1:], text + "0", text[::-1], text + "1", text * 2):
            yield "other-order-id", 4, other
    for other in (*_ORDERS, case.nonce):
        yield "other-order-id", 4, other


def numbers_changed(case: Case) -> Iterator[Swaps]:
    """Name and text of each number, and what may have been signed instead: mistake, grade, text."""
    if nonce := case.nonce:
        forms = [(f"nonce-{kind}", grade, text) for kind, grade, text in number_forms(nonce)]
        yield "nonce", nonce, [*forms, *_nonces(case)]
    name, order = case.order
    if order:
        # Few languages print a number as short as most ids in scientific notation.
        forms = [
            (f"order-id-{kind}", 3 if kind == "in-exponent" and grade == 2 else grade, text)
            for kind, grade, text in number_forms(order)
        ]
        yield name, order, [*forms, *other_orders(case)]
