import { createHmac } from "node:crypto";

const env = { TN_BASE_URL: "http://127.0.0.1:8787", TN_API_KEY: "tn-demo-key", TN_API_SECRET: "tn-demo-secret", ...process.env };
const orderId = process.argv[2] ?? "2929292929";
// Units of 100 ns from a microsecond clock. Date.now() would give two cancels in one millisecond the same nonce.
const micros = Math.round((performance.timeOrigin + performance.now()) * 1000);
const nonce = String(BigInt(micros) * 10n); // a BigInt, because a Number of this size is not exact
const fields = { apiKey: env.TN_API_KEY, cmd: "delTradeOrder", nonce };

// Sorted by name, raw values, the nested map as params=name=value.
const string = `apiKey=${fields.apiKey}&cmd=${fields.cmd}&nonce=${fields.nonce}&params=order_id=${orderId}`;
const signature = createHmac("sha256", env.TN_API_SECRET).update(string).digest("hex");

const reply = await fetch(`${env.TN_BASE_URL}/api/v2/cmd/delTradeOrder`, {
  method: "POST",
  headers: { "X-NtApi-Sig": signature },
  body: new URLSearchParams({ ...fields, "params[order_id]": orderId }),
  redirect: "manual",
});
console.log(reply.status, await reply.text());
