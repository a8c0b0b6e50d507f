// A client for `tn-contract judge`: cancels the orders in TN_ORDER_IDS and prints one JSON line for each. Node 18+.
import { createHmac } from "node:crypto";

const { TN_BASE_URL, TN_API_KEY, TN_API_SECRET, TN_ORDER_IDS, TN_TIMEOUT = "10" } = process.env;
const falsy = [undefined, null, "", "0", 0, false];
let nonce = 0n;

function judge(orderId, status, text) {
  if (status >= 500) return { outcome: "unknown" }; // it failed, perhaps after the cancel
  let said = null;
  try { said = JSON.parse(text); } catch { /* not JSON */ }
  if (said === null || typeof said !== "object" || Array.isArray(said)) said = {};
  const failed = ["errMsg", "error", "errorMsg"].some((name) => !falsy.includes(said[name]) && String(said[name]) !== "");
  if (failed || status === 429) return { outcome: "rejected", code: said.code };
  // The digits as sent: JSON.parse would round a large number.
  const digits = /"order_id"\s*:\s*([0-9]+)\s*[,}]/.exec(text)?.[1];
  const confirmed = "order_id" in said ? digits === orderId : Number.isInteger(said.result);
  return { outcome: status >= 200 && status < 300 && confirmed ? "accepted" : "unknown" };
}

for (const orderId of TN_ORDER_IDS.split(",")) {
  const now = BigInt(Date.now()) * 10000n;
  nonce = now > nonce ? now : nonce + 1n; // always greater, even if the clock goes back
  const string = `apiKey=${TN_API_KEY}&cmd=delTradeOrder&nonce=${nonce}&params=order_id=${orderId}`;
  const headers = { "X-NtApi-Sig": createHmac("sha256", TN_API_SECRET).update(string).digest("hex") };
  const body = new URLSearchParams({ apiKey: TN_API_KEY, cmd: "delTradeOrder", nonce, "params[order_id]": orderId });
  const signal = AbortSignal.timeout(Number(TN_TIMEOUT) * 1000);
  let outcome;
  try {
    const reply = await fetch(`${TN_BASE_URL}/api/v2/cmd/delTradeOrder`, { method: "POST", headers, body, signal, redirect: "manual" });
    outcome = judge(orderId, reply.status, await reply.text());
  } catch (error) {
    outcome = { outcome: error.cause?.code === "ECONNREFUSED" ? "not-sent" : "unknown" }; // otherwise the reply was lost
  }
  console.log(JSON.stringify(outcome));
}
