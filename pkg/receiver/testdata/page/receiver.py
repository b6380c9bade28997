# A receiver with Python's own library and nothing else.
import base64, hashlib, hmac, os, ssl, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
CLIENT = ("URI", os.environ["CLIENT_SAN"])
seen, lock = {}, Lock()  # several processes need a shared store, with an expiry
KEPT = 96 * 60 * 60  # longer than Handfast retries


def verified(headers, body):
    """What Webhook(secret).verify(body, headers) of the package standardwebhooks does: v1 over the bytes as they came."""
    fields = [headers.get_all("webhook-" + name, []) for name in ("id", "timestamp", "signature")]
    if any(len(values) != 1 for values in fields):
        return False
    (delivery,), (stamp,), (signatures,) = fields
    if not (stamp.isascii() and stamp.isdecimal()) or abs(time.time() - int(stamp)) > 5 * 60:
        return False
    made = hmac.new(SECRET, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
    want = b"v1," + base64.b64encode(made)
    return any(hmac.compare_digest(want, one.encode()) for one in signatures.split(" "))


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        if status > 299:
            self.send_header("connection", "close")
        self.end_headers()

    def trusted(self):  # one whole name of the certificate; never search in its subject
        return CLIENT in self.connection.getpeercert().get("subjectAltName", ())

    def do_OPTIONS(self):
        self.answer(204 if self.trusted() else 495)

    def do_POST(self):
        if not self.trusted():
            return self.answer(495)  # the certificate is the trouble, not the message
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()) or int(length) > 1 << 20:
            return self.answer(413)
        body = self.rfile.read(int(length))  # before any parser
        if not verified(self.headers, body):
            return self.answer(401)
        delivery, now = self.headers["webhook-id"], time.time()
        with lock:
            for old in [i for i, at in seen.items() if now - at > KEPT]:
                del seen[old]
            new = delivery not in seen
            seen[delivery] = now
        if new:
            print(f"{delivery}: {body.decode()}", flush=True)  # your work; when it fails, forget the id and answer 500
        self.answer(204)


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=os.environ["CLIENT_CA"])
context.verify_mode = ssl.CERT_REQUIRED
context.load_cert_chain(os.environ["CERT"], os.environ["KEY"])
host, port = os.environ["LISTEN"].rsplit(":", 1)
server = ThreadingHTTPServer((host, int(port)), Receiver)
# Each connection shakes hands in its own thread, so that nobody holds up the others.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(f"listening on {host}:{server.server_port}", flush=True)
server.serve_forever()
