// An honest client, some step of which is replaced by the mistake that its argument names.
import { createHmac } from "node:crypto";

const { TN_BASE_URL, TN_API_KEY, TN_API_SECRET, TN_ORDER_IDS, TN_TIMEOUT } = process.env;
const mistake = process.argv[2] ?? "none";
const falsy = [undefined, null, "", "0", 0, false];
let last = 0n;

const steps = {
  orderId: (text) => text,
  nonce: () => {
    const now = BigInt(Date.now()) * 10000n;
    last = now > last ? now : last + 1n;
    return String(last);
  },
  string: (fields) =>
    `apiKey=${fields.apiKey}&cmd=${fields.cmd}&nonce=${fields.nonce}&params=order_id=${fields["params[order_id]"]}`,
  body: (fields) => new URLSearchParams(fields),
  headers: () => ({}),
  options: () => ({ redirect: "manual" }),
  parse: (text) => {
    try {
      const said = JSON.parse(text);
      return said !== null && typeof said === "object" && !Array.isArray(said) ? said : {};
    } catch {
      return {};
    }
  },
  failed: (said) =>
    ["errMsg", "error", "errorMsg"].some((name) => !falsy.includes(said[name]) && String(said[name]) !== ""),
  lost: (error) => (error.cause?.code === "ECONNREFUSED" ? "not-sent" : "unknown"),
};

const mistakes = {
  none: {},
  // Number loses digits beyond 2^53.
  "number-ids": { orderId: (text) => String(Number(text)) },
  "second-nonces": { nonce: () => String(Math.floor(Date.now() / 1000)) },
  "millisecond-nonces": { nonce: () => String(Date.now()) },
  "milliseconds-as-ticks": { nonce: () => String(BigInt(Date.now()) * 10000n) },
  "monotonic-nonces": { nonce: () => String(BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000))) },
  "random-nonces": { nonce: () => String(Math.random()) },
  "encoded-string": { string: (fields) => String(new URLSearchParams(fields)) },
  "json-body": {
    body: (fields) => JSON.stringify(fields),
    headers: () => ({ "Content-Type": "application/json" }),
  },
  // fetch follows redirects unless told otherwise.
  "default-redirect": { options: () => ({}) },
  "truthy-object": { failed: (said) => said.error },
  "unguarded-json": { parse: (text) => JSON.parse(text) },
  "not-sent-for-lost": { lost: () => "not-sent" },
};
Object.assign(steps, mistakes[mistake]);

function judge(orderId, status, text) {
  if (status >= 500) return { outcome: "unknown" };
  const said = steps.parse(text);
  if (steps.failed(said) || status === 429) return { outcome: "rejected", code: said.code };
  const digits = /"order_id"\s*:\s*([0-9]+)\s*[,}]/.exec(text)?.[1];
  const confirmed = "order_id" in said ? digits === orderId : Number.isInteger(said.result);
  return { outcome: status >= 200 && status < 300 && confirmed ? "accepted" : "unknown" };
}

for (const asked of TN_ORDER_IDS.split(",")) {
  const orderId = steps.orderId(asked);
  const fields = { apiKey: TN_API_KEY, cmd: "delTradeOrder", nonce: steps.nonce(), "params[order_id]": orderId };
  const signature = createHmac("sha256", TN_API_SECRET).update(steps.string(fields)).digest("hex");
  const headers = { "X-NtApi-Sig": signature, ...steps.headers() };
  const signal = AbortSignal.timeout(Number(TN_TIMEOUT) * 1000);
  let reply;
  let text;
  let outcome;
  try {
    const options = { method: "POST", headers, body: steps.body(fields), signal, ...steps.options() };
    reply = await fetch(`${TN_BASE_URL}/api/v2/cmd/delTradeOrder`, options);
    text = await reply.text();
  } catch (error) {
    outcome = { outcome: steps.lost(error) };
  }
  console.log(JSON.stringify(outcome ?? judge(asked, reply.status, text)));
}
