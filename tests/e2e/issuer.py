#!/usr/bin/env python3
"""A minimal OpenID Connect provider and registry token server. Signatures are made with openssl.

issuer.py key FILE                        creates its key
issuer.py serve FILE PORT                 serves discovery, keys, the sign-in of ann, and registry tokens for ann:secret
issuer.py token FILE PORT [NAME=VALUE...] prints a signed token for a job, with the given claims changed"""

import base64
import hashlib
import http.server
import json
import subprocess
import sys
import time
import urllib.parse


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    def __init__(self, file, port):
        self.file, self.url = file, f"http://127.0.0.1:{port}"

    def public(self):
        """The public key as a member of a JSON Web Key Set."""
        out = subprocess.run(
            ["openssl", "rsa", "-in", self.file, "-noout", "-modulus"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        modulus = bytes.fromhex(out.split("=")[1].strip())
        return {
            "kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": encoded(modulus), "e": encoded(b"\1\0\1"),
        }

    def sign(self, claims):
        head = encoded(json.dumps({"alg": "RS256", "kid": "1", "typ": "JWT"}).encode())
        text = f"{head}.{encoded(json.dumps(claims).encode())}"
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self.file], input=text.encode(), stdout=subprocess.PIPE, check=True
        ).stdout
        return f"{text}.{encoded(signature)}"

    def claims(self, **others):
        now = int(time.time())
        return {"iss": self.url, "iat": now - 100, "nbf": now - 100, "exp": now + 300, **others}


class Handler(http.server.BaseHTTPRequestHandler):
    issuer = None
    codes = {}

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        at = self.issuer.url
        if url.path == "/.well-known/openid-configuration":
            self.tell({
                "issuer": at, "jwks_uri": f"{at}/keys", "authorization_endpoint": f"{at}/authorize",
                "token_endpoint": f"{at}/token",
            })
        elif url.path == "/keys":
            self.tell({"keys": [self.issuer.public()]})
        elif url.path == "/authorize":
            self.authorize(asked)
        elif url.path == "/registry-token":
            self.registry_token(url.query)
        else:
            self.send_error(404)

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        if urllib.parse.urlsplit(self.path).path == "/registry-token":
            self.send_error(404)
            return
        asked = self.codes.pop(form["code"], None)
        challenge = encoded(hashlib.sha256(form["code_verifier"].encode()).digest())
        client = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
        if not asked or challenge != asked["code_challenge"] or client != "orlop:s3cret":
            self.send_error(400)
            return
        self.tell({"id_token": self.issuer.sign(self.issuer.claims(
            aud="orlop", sub="7", nonce=asked["nonce"], preferred_username="ann", groups=["devs"],
        ))})

    def authorize(self, asked):
        """Signs ann in without a password prompt."""
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        back = urllib.parse.urlencode({"code": code, "state": asked["state"]})
        self.send_response(302)
        self.send_header("Location", f"{asked['redirect_uri']}?{back}")
        self.end_headers()

    def registry_token(self, query):
        """Implements https://distribution.github.io/distribution/spec/auth/token/ and grants ann all requested access."""
        shown = self.headers.get("Authorization", "")
        if shown != "Basic " + base64.b64encode(b"ann:secret").decode():
            self.send_error(401)
            return
        asked = urllib.parse.parse_qs(query)
        access = []
        for scope in " ".join(asked.get("scope", [])).split():
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        token = self.issuer.sign(self.issuer.claims(iss="authority", aud=asked["service"][0], sub="ann", access=access))
        self.tell({"token": token, "expires_in": 300})

    def tell(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    what, file, *rest = sys.argv[1:]
    if what == "key":
        subprocess.run(["openssl", "genrsa", "-out", file, "2048"], stderr=subprocess.DEVNULL, check=True)
    elif what == "serve":
        Handler.issuer = Issuer(file, rest[0])
        http.server.ThreadingHTTPServer(("127.0.0.1", int(rest[0])), Handler).serve_forever()
    else:
        issuer = Issuer(file, rest[0])
        claims = issuer.claims(aud="registry", sub="repo:acme/app", repository="acme/app")
        for change in rest[1:]:
            name, value = change.split("=", 1)
            claims[name] = int(time.time()) + int(value) if name == "exp" else value
        print(issuer.sign(claims), end="")


if __name__ == "__main__":
    main()
