<?php
$url = getenv('TN_BASE_URL') ?: 'http://127.0.0.1:8787';
$key = getenv('TN_API_KEY') ?: 'tn-demo-key';
$secret = getenv('TN_API_SECRET') ?: 'tn-demo-secret';
$orderId = $argv[1] ?? '2929292929';
$nonce = (int) (microtime(true) * 1e6) * 10; // units of 100 ns

// Sorted by name, raw values, the nested map as params=name=value.
$string = "apiKey=$key&cmd=delTradeOrder&nonce=$nonce&params=order_id=$orderId";
$fields = ['apiKey' => $key, 'cmd' => 'delTradeOrder', 'nonce' => $nonce, 'params' => ['order_id' => $orderId]];

$request = curl_init("$url/api/v2/cmd/delTradeOrder");
curl_setopt_array($request, [
    CURLOPT_POSTFIELDS => http_build_query($fields),
    CURLOPT_HTTPHEADER => ['X-NtApi-Sig: ' . hash_hmac('sha256', $string, $secret)],
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_TIMEOUT => 10,
]);
$text = curl_exec($request);
echo curl_getinfo($request, CURLINFO_RESPONSE_CODE), ' ', $text, "\n";
