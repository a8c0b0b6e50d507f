<?php // A client for `tn-contract judge`: cancels the orders in TN_ORDER_IDS and prints one JSON line for each.
function judge(string $orderId, int $status, string $text): array {
    if ($status >= 500) return ['outcome' => 'unknown']; // it failed, perhaps after the cancel
    $said = json_decode($text, true);
    if (!is_array($said) || array_is_list($said)) $said = [];
    $failed = array_filter(['errMsg', 'error', 'errorMsg'], fn ($name) => !empty($said[$name]));
    if ($failed || $status === 429) return ['outcome' => 'rejected', 'code' => $said['code'] ?? null];
    $confirmed = array_key_exists('order_id', $said) ? $said['order_id'] === (int) $orderId : is_int($said['result'] ?? null);
    return ['outcome' => $status >= 200 && $status < 300 && $confirmed ? 'accepted' : 'unknown'];
}

$nonce = 0;
foreach (explode(',', getenv('TN_ORDER_IDS')) as $orderId) {
    $nonce = max((int) (microtime(true) * 1e4) * 1000, $nonce + 1); // always greater, even if the clock goes back
    $fields = ['apiKey' => getenv('TN_API_KEY'), 'cmd' => 'delTradeOrder', 'nonce' => $nonce];
    $string = implode('&', array_map(fn ($name) => "$name=$fields[$name]", array_keys($fields))) . "&params=order_id=$orderId";
    $request = curl_init(getenv('TN_BASE_URL') . '/api/v2/cmd/delTradeOrder');
    curl_setopt_array($request, [ // curl follows no redirect, keeps no cookie and never retries
        CURLOPT_POSTFIELDS => http_build_query($fields + ['params' => ['order_id' => $orderId]]),
        CURLOPT_HTTPHEADER => ['X-NtApi-Sig: ' . hash_hmac('sha256', $string, getenv('TN_API_SECRET'))],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => (int) (getenv('TN_TIMEOUT') ?: 10),
    ]);
    $text = curl_exec($request);
    if ($text !== false) {
        $outcome = judge($orderId, curl_getinfo($request, CURLINFO_RESPONSE_CODE), $text);
    } else {
        $outcome = ['outcome' => curl_errno($request) === CURLE_COULDNT_CONNECT ? 'not-sent' : 'unknown']; // otherwise the reply was lost
    }
    echo json_encode($outcome), "\n";
}
