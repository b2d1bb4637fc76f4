#!/usr/bin/env bash
# Runs nginx with the configuration of docs/deployment.md in front of the server. Chunked layers stream to the server,
# nothing is stored on the proxy's disk, the server sees the clients' addresses, and real clients push and pull.
. "$(dirname "$0")/lib.sh"

server_start ORLOP_SERVER__TRUSTED_PROXIES='["127.0.0.1"]'
port=$(free_port)
proxy=127.0.0.1:$port

step "start nginx with the configuration of docs/deployment.md"
mkdir "$WORK/nginx"
{
    echo "user root; daemon off; pid $WORK/nginx/pid; error_log $WORK/nginx/error warn; events {}"
    echo "http { access_log off;"
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $WORK/nginx/$kind;"; done
    echo "server { listen $proxy;"
    python3 "$E2E_DIR/readme.py" proxy | sed "s|http://127.0.0.1:5000|http://$SERVER_ADDR|"
    echo "} }"
} >"$WORK/nginx/conf"
nginx -c "$WORK/nginx/conf" 2>/dev/null &
at_exit "kill $! 2>/dev/null"
within 5 curl -fs "http://$proxy/readyz"

step "a chunked push streams through nginx"
python3 - "$proxy" "$SERVER_DATA" <<'PYTHON'
import http.client, os, sys, time

proxy, data = sys.argv[1:]
PIECE = 1 << 20

def uploaded():
    """The bytes of unfinished uploads on the server's disk."""
    sizes = []
    for folder, _, files in os.walk(data):
        if "blobs" not in folder and "metadata" not in folder:
            sizes += [os.path.getsize(os.path.join(folder, name)) for name in files]
    return max(sizes, default=0)

client = http.client.HTTPConnection(proxy, timeout=30)
client.request("POST", "/v2/app/blobs/uploads/")
answer = client.getresponse()
answer.read()
assert answer.status == 202, answer.status
location = answer.getheader("location")
location = location[location.index("/v2/"):]
client.putrequest("PATCH", location)
client.putheader("Transfer-Encoding", "chunked")
client.putheader("Content-Type", "application/octet-stream")
client.endheaders()
for sent in range(1, 9):
    client.send(b"%x\r\n" % PIECE + os.urandom(PIECE) + b"\r\n")
    # The server buffers less than 4 MiB before it writes.
    for _ in range(100):
        if uploaded() >= (sent - 4) * PIECE:
            break
        time.sleep(0.1)
    assert uploaded() >= (sent - 4) * PIECE, f"{sent} MiB sent, {uploaded()} bytes arrived"
assert uploaded() > 0
client.send(b"0\r\n\r\n")
answer = client.getresponse()
assert answer.status == 202, answer.status
assert answer.getheader("range") == f"0-{8 * PIECE - 1}", answer.getheader("range")
PYTHON
if grep 'buffered to a temporary file' "$WORK/nginx/error"; then exit 1; fi

step "clients push and pull through nginx"
python3 "$E2E_DIR/layout.py" "$WORK/image" 3000000
copy() { skopeo --insecure-policy copy -q "$@"; }
copy --dest-tls-verify=false "oci:$WORK/image:one" "docker://$proxy/app:1"
copy --src-tls-verify=false "docker://$proxy/app:1" "oci:$WORK/back:one"
cmp <(cd "$WORK/image" && find blobs -type f | sort) <(cd "$WORK/back" && find blobs -type f | sort)

step "the server sees the clients' own addresses"
curl -fs --interface 127.0.0.9 -o /dev/null "http://$proxy/v2/"
within 5 grep -q '127\.0\.0\.9' "$SERVER_LOG"
