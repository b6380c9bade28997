<?php
// A receiver behind nginx with PHP's own functions and nothing else.

// What (new StandardWebhooks\Webhook($secret))->verify($body, $headers) does: v1 over the bytes as they came.
function verified(string $secret, string $id, string $stamp, string $signatures, string $body): bool
{
    if ($id === "" || !preg_match('/\A\d{1,12}\z/', $stamp) || abs(time() - (int) $stamp) > 300) {
        return false;
    }
    $key = base64_decode(substr($secret, strlen("whsec_")), true);
    $want = "v1," . base64_encode(hash_hmac("sha256", "$id.$stamp.$body", $key, true));
    foreach (explode(" ", $signatures) as $one) {
        if (hash_equals($want, $one)) {
            return true;
        }
    }
    return false;
}

function answer(int $status): never
{
    http_response_code($status);
    exit;
}

// PHP writes all names of a certificate into one text, in which a name with a comma looks like two: compare the whole.
$leaf = openssl_x509_parse(rawurldecode($_SERVER["CLIENT_CERT"] ?? ""));
if (($leaf["extensions"]["subjectAltName"] ?? "") !== "URI:" . getenv("CLIENT_SAN")) {
    answer(495); // the certificate is the trouble, not the message
}
if ($_SERVER["REQUEST_METHOD"] === "OPTIONS") {
    answer(204);
}
$body = file_get_contents("php://input", false, null, 0, (1 << 20) + 1); // before any parser
if (strlen($body) > 1 << 20) {
    answer(413);
}
$id = $_SERVER["HTTP_WEBHOOK_ID"] ?? "";
if (!verified(getenv("WEBHOOK_SECRET"), $id, $_SERVER["HTTP_WEBHOOK_TIMESTAMP"] ?? "", $_SERVER["HTTP_WEBHOOK_SIGNATURE"] ?? "", $body)) {
    answer(401);
}
// A file for each id, made by one process only. Delete those older than four days; several machines need a shared store, with an expiry.
$mark = getenv("SEEN") . "/" . hash("sha256", $id);
if (@fopen($mark, "x") !== false) {
    file_put_contents("php://stderr", "$id: $body\n"); // your work; when it fails, delete the mark and answer 500
} elseif (!is_file($mark)) {
    answer(503); // what cannot be remembered is not processed
}
answer(204);
