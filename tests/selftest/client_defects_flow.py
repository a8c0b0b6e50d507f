"""Broken clients in the flow of requests: several in flight, connections used wrongly, what an earlier order leaves."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .client_defects import DEFECTS, NOR_RISES, defect, found_too, instead_of, naming_orders, run_and_hang_up, tried
from .clients import Client, Fields, Got, LostError

# ---- several at a time ---------------------------------------------------------------------------------------


def in_threads(self: Client, order_ids: list[str], most: int) -> None:
    """Each leaves when the one before is on its way, so that they mostly arrive in order."""
    with ThreadPoolExecutor(most) as pool:
        outcomes = []
        for order_id in order_ids:
            self.memory["sent"] = threading.Event()
            outcomes.append(pool.submit(self.cancel, order_id))
            self.memory["sent"].wait(0.2)
            time.sleep(0.01)
        for order_id, outcome in zip(order_ids, outcomes, strict=True):
            self.report(order_id, outcome.result())


def tell_that_it_was_sent(self: Client, connection: http.client.HTTPConnection) -> Got:
    self.memory["sent"].set()
    return Client.receive(self, connection)


@instead_of("run", "sends/one-at-a-time")
def sends_all_orders_at_once(self: Client) -> None:
    in_threads(self, self.order_ids(), 16)


@instead_of("run", "sends/one-at-a-time")
def sends_two_at_a_time(self: Client) -> None:
    in_threads(self, self.order_ids(), 2)


@instead_of("run", "sends/one-at-a-time")
def sends_the_first_alone_and_the_rest_at_once(self: Client) -> None:
    first, *rest = self.order_ids()
    self.memory["sent"] = threading.Event()
    self.report(first, self.cancel(first))
    if rest:
        in_threads(self, rest, 16)


@instead_of("run", "sends/one-at-a-time")
def sends_in_batches_of_three(self: Client) -> None:
    order_ids = self.order_ids()
    for start in range(0, len(order_ids), 3):
        in_threads(self, order_ids[start : start + 3], 3)


@instead_of("run", "sends/one-at-a-time", also={"reports/*": "the replies are given to the wrong orders"})
def pairs_replies_with_orders_as_they_come(self: Client) -> None:
    order_ids, outcomes = self.order_ids(), []
    self.report = lambda order_id, outcome: None  # type: ignore[method-assign]
    self.judge = lambda order_id, got: (outcomes.append(Client.judge(self, order_id, got)), outcomes[-1])[1]  # type: ignore[method-assign]
    self.on_lost = lambda order_id: (outcomes.append({"outcome": "unknown"}), outcomes[-1])[1]  # type: ignore[method-assign]
    self.on_not_sent = lambda order_id: (outcomes.append({"outcome": "not-sent"}), outcomes[-1])[1]  # type: ignore[method-assign]
    in_threads(self, order_ids, 16)
    for order_id, outcome in zip(order_ids, outcomes, strict=True):
        Client.report(self, order_id, outcome)


for _slug in (
    "sends-all-orders-at-once", "sends-two-at-a-time", "sends-the-first-alone-and-the-rest-at-once",
    "sends-in-batches-of-three", "pairs-replies-with-orders-as-they-come",
):  # fmt: skip
    DEFECTS[_slug].attributes["receive"] = tell_that_it_was_sent


@instead_of("exchange", "sends/once", also={"resends/nothing-after-lost-replies": "silence is a slow reply at first"})
def hedges_slow_requests(self: Client, fields: Fields) -> Got:
    """Sends a second request when the first has no reply soon, and takes whichever is answered first."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Client.exchange, self, fields)
        try:
            return first.result(0.2)
        except TimeoutError:
            again = [("nonce", self.next_nonce()) if name == "nonce" else (name, value) for name, value in fields]
            pool.submit(Client.exchange, self, again)
            return first.result()


# ---- connections ---------------------------------------------------------------------------------------------


def on_one_line(self: Client, method: str, address: str, headers: dict[str, str], body: bytes) -> Got:
    """Write and read past the library's own book-keeping, which heeds `Connection: close` and what timed out."""
    connection = self.memory.pop("kept", None) or self.connect()
    lines = [f"{method} {address} HTTP/1.1", "Host: mock", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    reply = http.client.HTTPResponse(connection.sock, method=method)
    self.memory["kept"] = connection
    try:
        connection.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        reply.begin()
        got = Got(reply.status, reply.read().decode("utf-8", "replace"), {})
    except (OSError, http.client.HTTPException) as error:
        if not (isinstance(error, TimeoutError) and self.memory.get("forgives")):
            self.memory.pop("kept").close()
        raise LostError(type(error).__name__) from error
    finally:
        reply.close()
    if self.memory.get("forgives") and reply.getheader("Connection") == "close":
        self.memory.pop("kept").close()
    return got


@instead_of("run", "reports/each-order-for-itself")
def keeps_the_connection_of_a_request_that_timed_out(self: Client) -> None:
    self.memory["forgives"] = True
    run_and_hang_up(self)


DEFECTS["keeps-the-connection-of-a-request-that-timed-out"].attributes["send"] = on_one_line
defect("sends-on-a-connection-that-the-server-closes", "reports/each-order-for-itself", send=on_one_line,
       run=run_and_hang_up)  # fmt: skip


# ---- what an earlier order leaves ----------------------------------------------------------------------------


@instead_of("cancel", "reports/each-order-for-itself")
def once_refused_always_refused(self: Client, order_id: str) -> dict[str, Any]:
    outcome = Client.cancel(self, order_id)
    self.memory["refused"] = self.memory.get("refused") or outcome["outcome"] == "rejected"
    return {**outcome, "outcome": "rejected"} if self.memory["refused"] else outcome


@instead_of("cancel", "reports/each-order-for-itself")
def once_in_doubt_always_in_doubt(self: Client, order_id: str) -> dict[str, Any]:
    outcome = Client.cancel(self, order_id)
    self.memory["doubt"] = self.memory.get("doubt") or outcome["outcome"] == "unknown"
    return {"outcome": "unknown"} if self.memory["doubt"] else outcome


@instead_of("judge", "reports/each-order-for-itself")
def keeps_the_members_of_earlier_replies(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    """Fills one object again and again, as some decoders do."""
    said = self.memory.setdefault("said", {})
    said.update(self.parse(got.text))
    if self.is_server_error(got):
        return {"outcome": "unknown"}
    if self.is_failure(said) or self.is_rate_limit(got):
        return {"outcome": "rejected", **self.code_of(said)}
    confirmed = self.is_status_good(got.status) and self.is_success(order_id, said)
    return {"outcome": "accepted" if confirmed else "unknown"}


@instead_of("judge", "reports/long-ids")
def compares_ids_as_floats(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    said = self.parse(got.text)
    if type(said.get("order_id")) is int:
        got = Got(got.status, got.text.replace(str(said["order_id"]), str(int(float(said["order_id"])))), got.headers)
    return Client.judge(self, order_id, got)


def remembering(slug: str, shared: Callable[[list[str]], str | None]) -> None:
    """Register a client that reports an outcome of an earlier order instead, given the outcomes so far."""

    def cancel(self: Client, order_id: str) -> dict[str, Any]:
        outcome = Client.cancel(self, order_id)
        earlier = self.memory.setdefault("outcomes", [])
        earlier.append(outcome["outcome"])
        told = shared(earlier)
        return {"outcome": told} if told else outcome

    defect(slug, "reports/each-order-for-itself", cancel=cancel)
    tried(slug, "accepted-first", "method-error", "other-json")


remembering("reports-the-first-success-for-all", lambda so_far: so_far[0] if so_far[0] == "accepted" else None)
remembering("reports-the-first-outcome-for-all", lambda so_far: so_far[0])
remembering("once-accepted-always-accepted", lambda so_far: "accepted" if "accepted" in so_far else None)
remembering("reports-the-outcome-of-the-order-before", lambda so_far: so_far[-2] if len(so_far) > 1 else None)
remembering("takes-doubt-for-the-refusal-before", lambda so_far: (
    "rejected" if "rejected" in so_far[:-1] and so_far[-1] == "unknown" else None
))  # fmt: skip


@instead_of("is_success", "reports/long-ids")
def takes_ids_for_equal_as_floats(self: Client, order_id: str, said: dict[str, Any]) -> bool:
    if type(said.get("order_id")) is int:
        return float(said["order_id"]) == float(order_id)
    return Client.is_success(self, order_id, said)


@instead_of("is_success", "reports/long-ids")
def compares_the_first_15_digits_of_ids(self: Client, order_id: str, said: dict[str, Any]) -> bool:
    if type(said.get("order_id")) is int:
        return f"{said['order_id']:.14e}" == f"{int(order_id):.14e}"
    return Client.is_success(self, order_id, said)


@instead_of("run", "reports/each-order-for-itself")
def reports_the_worst_outcome_for_all(self: Client) -> None:
    outcomes = [self.cancel(order_id) for order_id in self.order_ids()]
    worst = max(outcomes, key=lambda each: ("accepted", "rejected", "unknown", "not-sent").index(each["outcome"]))
    for order_id in self.order_ids():
        naming_orders(self, order_id, worst)


@instead_of("next_nonce", "draws/rising", also=NOR_RISES)
def draws_one_nonce_for_two_orders(self: Client) -> str:
    self.memory["count"] = self.memory.get("count", 0) + 1
    if self.memory["count"] % 2:
        self.memory["nonce"] = Client.next_nonce(self)
    return str(self.memory["nonce"])


tried("keeps-the-connection-of-a-request-that-timed-out", "late")
tried("sends-on-a-connection-that-the-server-closes", "closing")
tried("once-refused-always-refused", "method-error")
tried("once-in-doubt-always-in-doubt", "empty")
tried("keeps-the-members-of-earlier-replies", "method-error")
tried("reports-the-worst-outcome-for-all", "method-error")


# ---- found by others too --------------------------------------------------------------------------------------

found_too(
    "hedges-slow-requests",
    also={
        "resends/nothing-after-lost-replies": "silence is a slow reply at first",
        "sends/one-at-a-time": "the first is not answered yet",
    },
)
found_too("keeps-the-members-of-earlier-replies", also={"reports/codes-as-sent": "the code is an earlier one"})
found_too("reports-the-worst-outcome-for-all", also={"reports/codes-as-sent": "the code is another one"})
found_too(
    "once-refused-always-refused",
    "keeps-the-members-of-earlier-replies",
    "once-accepted-always-accepted",
    "reports-the-first-outcome-for-all",
    "reports-the-first-success-for-all",
    "reports-the-outcome-of-the-order-before",
    "takes-doubt-for-the-refusal-before",
    also={"reports/other-json": "an unclear reply follows a success and a refusal"},
)
found_too(
    "once-accepted-always-accepted",
    "reports-the-first-outcome-for-all",
    "reports-the-first-success-for-all",
    "reports-the-outcome-of-the-order-before",
    also={
        "reports/method-error": "a refusal follows a success",
        "reports/lost-replies": "a reply is lost after a success",
    },
)
found_too("reports-the-worst-outcome-for-all", also={"reports/method-error": "the other reply of the run is unclear"})
found_too("draws-one-nonce-for-two-orders", also={"draws/*": "the second order follows every kind of reply"})
found_too(
    "keeps-the-members-of-earlier-replies",
    "once-refused-always-refused",
    "reports-the-first-outcome-for-all",
    "reports-the-outcome-of-the-order-before",
    "reports-the-worst-outcome-for-all",
    also={"reports/refused-requests": "an ordinary success is said to be refused"},
)
