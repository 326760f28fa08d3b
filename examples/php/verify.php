<?php
const KEY = 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY='; // the secret without whsec_

function verify(array $headers, string $body): bool
{
    $id = $headers['webhook-id'] ?? '';
    $at = $headers['webhook-timestamp'] ?? '0';
    if (abs(time() - (int) $at) > 300) {
        return false; // an old request, played again
    }
    $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$at.$body", base64_decode(KEY), true));
    foreach (explode(' ', $headers['webhook-signature'] ?? '') as $got) {
        if (hash_equals($want, $got)) {
            return true;
        }
    }
    return false;
}
