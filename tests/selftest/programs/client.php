<?php // An honest client, some step of which is replaced by the mistake that its argument names.
ini_set('precision', '17'); // as many installations have it
$last = 0;
$steps = [
    'orderId' => fn (string $text) => $text,
    'nonce' => function () use (&$last) {
        return $last = max((int) (microtime(true) * 1e4) * 1000, $last + 1);
    },
    'string' => fn (array $fields) => "apiKey={$fields['apiKey']}&cmd={$fields['cmd']}&nonce={$fields['nonce']}"
        . "&params=order_id={$fields['params']['order_id']}",
    'body' => fn (array $fields) => http_build_query($fields),
    'headers' => fn (string $signature) => ["X-NtApi-Sig: $signature"],
    'options' => fn () => [CURLOPT_TIMEOUT => (int) getenv('TN_TIMEOUT')],
    'failed' => fn (array $said) => (bool) array_filter(['errMsg', 'error', 'errorMsg'], fn ($name) => !empty($said[$name])),
    'same' => fn ($said, string $orderId) => $said === (int) $orderId,
    'address' => fn () => '/api/v2/cmd/delTradeOrder',
];
$path = '';
$mistakes = [
    'none' => [],
    // A float, as the vendor's own client has it: its digits depend on the setting precision.
    'float-nonces' => ['nonce' => fn () => (string) (microtime(true) * 10000 + 0.25)],
    'millisecond-nonces' => ['nonce' => fn () => (string) (int) (microtime(true) * 1000)],
    'second-nonces' => ['nonce' => fn () => time()],
    'encoded-string' => ['string' => fn (array $fields) => http_build_query($fields)],
    'bracketed-string' => ['string' => fn (array $fields) => urldecode(http_build_query($fields))],
    // An array given to curl is sent as multipart/form-data.
    'multipart' => ['body' => fn (array $fields) => ['params[order_id]' => $fields['params']['order_id']]
        + array_diff_key($fields, ['params' => 0])],
    'isset-error' => ['failed' => fn (array $said) => array_key_exists('error', $said) || isset($said['errMsg'])
        || isset($said['errorMsg'])],
    'code-alone' => ['failed' => fn (array $said) => !empty($said['code'])],
    // Text of digits equals a number, and so does true.
    'no-order-compared' => ['same' => fn ($said, string $orderId) => $said > 0],
    'growing-address' => ['address' => function () use (&$path) {
        return '/api/v2' . ($path .= '/cmd/delTradeOrder');
    }],
    'header-without-prefix' => ['headers' => fn (string $signature) => ["NtApi-Sig: $signature"]],
    'follows-redirects' => ['options' => fn () => [
        CURLOPT_TIMEOUT => (int) getenv('TN_TIMEOUT'), CURLOPT_FOLLOWLOCATION => true,
    ]],
];
$steps = $mistakes[$argv[1] ?? 'none'] + $steps;

function judge(array $steps, string $orderId, int $status, string $text): array {
    if ($status >= 500) return ['outcome' => 'unknown'];
    $said = json_decode($text, true);
    if (!is_array($said) || array_is_list($said)) $said = [];
    if ($steps['failed']($said) || $status === 429) return ['outcome' => 'rejected', 'code' => $said['code'] ?? null];
    $confirmed = array_key_exists('order_id', $said) ? $steps['same']($said['order_id'], $orderId) : is_int($said['result'] ?? null);
    return ['outcome' => $status >= 200 && $status < 300 && $confirmed ? 'accepted' : 'unknown'];
}

foreach (explode(',', getenv('TN_ORDER_IDS')) as $asked) {
    $orderId = $steps['orderId']($asked);
    $fields = [
        'apiKey' => getenv('TN_API_KEY'), 'cmd' => 'delTradeOrder', 'nonce' => $steps['nonce'](),
        'params' => ['order_id' => $orderId],
    ];
    $signature = hash_hmac('sha256', $steps['string']($fields), getenv('TN_API_SECRET'));
    $request = curl_init(getenv('TN_BASE_URL') . $steps['address']());
    curl_setopt_array($request, [
        CURLOPT_POSTFIELDS => $steps['body']($fields),
        CURLOPT_HTTPHEADER => $steps['headers']($signature),
        CURLOPT_RETURNTRANSFER => true,
    ] + $steps['options']());
    $text = curl_exec($request);
    if ($text === false) {
        $outcome = ['outcome' => curl_errno($request) === CURLE_COULDNT_CONNECT ? 'not-sent' : 'unknown'];
    } else {
        $outcome = judge($steps, $asked, curl_getinfo($request, CURLINFO_RESPONSE_CODE), $text);
    }
    echo json_encode($outcome), "\n";
}
