<?php
/*
 * The page's PHP sample as a flow: getAuthInfo, then delTradeOrder, with one client object.
 *
 * The vendor's class Nt\PublicApiClient is in no package, so this is not it: the class below was written anew from what
 * is known of its behaviour (microtime(true) * 10000 as nonce, ksort at each level, http_build_query for the body).
 * It hands back the decoded reply and reports nothing, so its user takes any array for success; what is no JSON object
 * comes back as null, which tells him nothing.
 */

final class DocumentedClient
{
    public function __construct(private string $url, private string $key, private string $secret) {}

    private function preSign(array $fields): string
    {
        ksort($fields);
        $parts = [];
        foreach ($fields as $name => $value) {
            $parts[] = $name . '=' . (is_array($value) ? $this->preSign($value) : $value);
        }
        return implode('&', $parts);
    }

    public function sendRequest(string $command, array $params): ?array
    {
        $fields = ['cmd' => $command];
        if ($params) {
            $fields['params'] = $params;
        }
        $fields['apiKey'] = $this->key;
        $fields['nonce'] = microtime(true) * 10000;

        $request = curl_init("$this->url/v2/cmd/$command");
        curl_setopt_array($request, [
            CURLOPT_POST => true,
            CURLOPT_POSTFIELDS => http_build_query($fields),
            CURLOPT_HTTPHEADER => ['X-NtApi-Sig: ' . hash_hmac('sha256', $this->preSign($fields), $this->secret)],
            CURLOPT_RETURNTRANSFER => true,
        ]);
        if (getenv('CURL_CA_BUNDLE')) { // PHP's curl reads no environment
            curl_setopt($request, CURLOPT_CAINFO, getenv('CURL_CA_BUNDLE'));
        }
        $body = curl_exec($request);
        if (curl_errno($request) === CURLE_COULDNT_CONNECT) {
            throw new RuntimeException('not sent');
        }
        $reply = is_string($body) ? json_decode($body, true) : null;
        return is_array($reply) ? $reply : null;
    }
}

$client = new DocumentedClient(getenv('TN_BASE_URL') . '/api', getenv('TN_API_KEY'), getenv('TN_API_SECRET'));
foreach (explode(',', getenv('TN_ORDER_IDS')) as $orderId) {
    try {
        // 1. Opening a security session
        $client->sendRequest('getAuthInfo', []);

        // 2. Cancellation of a trade order
        $reply = $client->sendRequest('delTradeOrder', ['order_id' => (int) $orderId]);
        $outcome = $reply === null ? 'unknown' : 'accepted';
    } catch (RuntimeException) {
        $outcome = 'not-sent';
    }
    echo json_encode(['outcome' => $outcome]), "\n";
}
