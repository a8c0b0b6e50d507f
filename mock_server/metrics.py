"""What the mock has done so far, for Prometheus. Counted by the broker, put into words only when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mock_server.broker import Broker
from tn_contract import __version__

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Collector:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        broker = self._broker
        corpus = broker.corpus.manifest.version
        yield InfoMetricFamily("tn_mock", "The mock.", value={"version": __version__, "corpus": corpus})
        requests = CounterMetricFamily(
            "tn_mock_requests", "Requests to the API, by what became of them.", labels=("scheme", "situation")
        )
        for labels, count in sorted(broker.counts.items()):
            requests.add_metric(labels, count)
        yield requests
        kept = GaugeMetricFamily("tn_mock_journal_exchanges", "Exchanges kept in memory.")
        kept.add_metric((), broker.exchanges_kept)
        yield kept


def exposition(broker: Broker) -> bytes:
    """Write the metrics. Raises `ImportError` where prometheus-client is missing: it is an extra."""
    from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(_Collector(broker))
    return generate_latest(registry)
