-- Signs every cancel afresh. Keys take turns, so that replies which overtake each other never make a nonce late.
local ffi = require("ffi")
ffi.cdef [[
  const void *EVP_sha256(void);
  unsigned char *HMAC(const void *md, const void *key, int size, const unsigned char *text, size_t length,
                      unsigned char *digest, unsigned int *digest_size);
]]
local crypto = ffi.load(os.getenv("LIBCRYPTO") or "libcrypto.so.3")
local sha256, digest, size = crypto.EVP_sha256(), ffi.new("unsigned char[64]"), ffi.new("unsigned int[1]")
local KEYS, count, hex = 1024, 0, {}
local start = os.time() * 1000000 -- exact in a double, and each run starts higher than the one before
for byte = 0, 255 do hex[byte] = string.format("%02x", byte) end

function request()
  count = count + 1
  local number, nonce, digits = count % KEYS, string.format("%.0f", start + count), {}
  local secret = "load-secret-" .. number
  local text = "apiKey=load-" .. number .. "&cmd=delTradeOrder&nonce=" .. nonce .. "&params=order_id=2929292929"
  crypto.HMAC(sha256, secret, #secret, text, #text, digest, size)
  for index = 0, 31 do digits[index + 1] = hex[digest[index]] end
  local body = "cmd=delTradeOrder&apiKey=load-" .. number .. "&nonce=" .. nonce .. "&params%5Border_id%5D=2929292929"
  return "POST /api/v2/cmd/delTradeOrder HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded" ..
    "\r\nX-NtApi-Sig: " .. table.concat(digits) .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end


function done(summary, latency, requests)
  io.write(string.format('{"rate": %.1f, "p50": %d, "p99": %d, "errors": %d}\n', summary.requests / summary.duration * 1e6,
    latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.connect +
    summary.errors.read + summary.errors.write + summary.errors.timeout))
end
