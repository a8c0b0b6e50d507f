-- Sends the same cancel again and again, for servers that look at nothing.
wrk.method = "POST"
wrk.body = "cmd=delTradeOrder&apiKey=load-0&nonce=1&params%5Border_id%5D=2929292929"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"

function done(summary, latency, requests)
  io.write(string.format('{"rate": %.1f, "p50": %d, "p99": %d, "errors": %d}\n', summary.requests / summary.duration * 1e6,
    latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.connect +
    summary.errors.read + summary.errors.write + summary.errors.timeout))
end
