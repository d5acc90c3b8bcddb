"""How others trust a server whose certificate this machine has made: its CA, and what to do with it on each system."""

from __future__ import annotations

from html import escape

from hubbub.http.pages import Page, make_page

__all__ = ["STYLE", "trust_pages"]

MEDIA_TYPE = "application/x-x509-ca-cert"

STYLE = """
:root { color-scheme: light dark; }
body { max-width: 44rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; font: 1rem/1.55 system-ui, sans-serif;
  color: light-dark(#1b2522, #e8eeec); background: light-dark(#fff, #14201d); }
h1 { font-size: 1.5rem; line-height: 1.2; }
h2 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
a { color: light-dark(#0b6b5d, #6fd0bf); }
li { margin: 0.25rem 0; }
code { font: 0.9em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { padding: 0.75rem; overflow-x: auto; background: light-dark(#f1f4f3, #1d2b27); border-radius: 0.4rem; }
pre:focus-visible, a:focus-visible { outline: 2px solid; outline-offset: 2px; }
.fingerprint { padding: 0.75rem; border: 1px solid light-dark(#87918c, #7e8f89); border-radius: 0.4rem; }
.get { display: inline-block; padding: 0.6rem 1rem; border-radius: 0.4rem; color: #fff; background: #0b6b5d; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Trust this Hubbub server</title>
<link rel="icon" href="/web/icon.svg" type="image/svg+xml">
<style>{style}</style>
</head>
<body>
<main>
<h1>Trust this Hubbub server</h1>
<p>The certificate of this server comes from an authority of its own (a CA), which no browser knows. Once your device
trusts that CA, the warning is gone, and nobody on the way can read along.</p>

<h2>First compare</h2>
<p>Ask whoever runs the server for the SHA-256 fingerprint of its CA, by telephone or in person. It is printed when the
server starts, and must be this one. If it is not, stop here: somebody else may have sent you this page.</p>
<p class="fingerprint"><code>{fingerprint}</code></p>
<p>The CA can vouch for the names of this server and for addresses of private networks, and for nothing else: not for
your bank.</p>
<p><a class="get" href="/ca.crt">Get the CA certificate</a></p>
<p>It is a file <code>ca.crt</code>, in PEM. Compare the fingerprint where your system shows one, too.</p>

<h2>Windows</h2>
<ol>
<li>Open <code>ca.crt</code>, and choose <em>Install Certificate</em>, then <em>Current User</em>.</li>
<li>Choose <em>Place all certificates in the following store</em>, and <em>Trusted Root Certification
Authorities</em>.</li>
<li>Say <em>Yes</em> to the question that follows, and start the browser again.</li>
</ol>
<p>Windows shows a thumbprint of SHA-1. PowerShell tells the one of SHA-256, in the folder that has the file:</p>
{windows}

<h2>macOS</h2>
<ol>
<li>Open <code>ca.crt</code>: Keychain Access adds it to the keychain <em>login</em>.</li>
<li>Open the entry <em>Hubbub local CA</em> there, and under <em>Trust</em> choose <em>Always Trust</em> for
<em>Secure Sockets Layer (SSL)</em>.</li>
</ol>
<p>Or in a terminal:</p>
{macos}

<h2>Linux</h2>
<p>Debian and Ubuntu:</p>
{debian}
<p>Fedora and its relatives:</p>
{fedora}
<p>Chromium and Chrome have a list of their own (<code>certutil</code> is in <code>libnss3-tools</code> or
<code>nss-tools</code>):</p>
{chromium}

<h2>Firefox</h2>
<p>On Windows and macOS it trusts what the system trusts. Elsewhere: <em>Settings</em>, <em>Privacy &amp; Security</em>,
<em>View Certificates</em>, <em>Authorities</em>, <em>Import</em>; choose <code>ca.crt</code> and <em>Trust this CA to
identify websites</em>.</p>

<h2>Android</h2>
<ol>
<li>Get <code>ca.crt</code>. In <em>Settings</em>, search for <em>CA certificate</em> (under <em>Security</em>,
<em>Encryption &amp; credentials</em>, <em>Install a certificate</em>).</li>
<li>Choose <em>Install anyway</em>, and the file.</li>
</ol>

<h2>iPhone and iPad</h2>
<ol>
<li>Get <code>ca.crt</code> with Safari, and allow the profile.</li>
<li>In <em>Settings</em>, open <em>Profile Downloaded</em>, and choose <em>Install</em>.</li>
<li>In <em>Settings</em>, <em>General</em>, <em>About</em>, <em>Certificate Trust Settings</em>, switch it on.</li>
</ol>

<h2>Programs</h2>
<p>Python's clients take the file by name: <code>hubbub.connect(..., ca_file="ca.crt")</code>. For Node, set
<code>NODE_EXTRA_CA_CERTS=ca.crt</code>.</p>

<p><a href="/">To the chat</a></p>
</main>
</body>
</html>
"""

WINDOWS = """$ca = [Security.Cryptography.X509Certificates.X509Certificate2]::new("$PWD\\ca.crt")
[BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($ca.RawData)).Replace("-", ":")"""
MACOS = """openssl x509 -in ca.crt -noout -fingerprint -sha256
security add-trusted-cert -r trustRoot -p ssl -k ~/Library/Keychains/login.keychain-db ca.crt"""
DEBIAN = """openssl x509 -in ca.crt -noout -fingerprint -sha256
sudo cp ca.crt /usr/local/share/ca-certificates/hubbub.crt
sudo update-ca-certificates"""
FEDORA = """openssl x509 -in ca.crt -noout -fingerprint -sha256
sudo cp ca.crt /etc/pki/ca-trust/source/anchors/hubbub.crt
sudo update-ca-trust"""
CHROMIUM = """mkdir -p ~/.pki/nssdb
certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n Hubbub -i ca.crt"""


def trust_pages(ca: bytes, fingerprint: str) -> dict[str, Page]:
    """What paths are answered with about a CA.

    Args:
        ca: its certificate, PEM.
        fingerprint: the certificate's, of SHA-256.
    """
    page = PAGE.format(
        style=STYLE,
        # It may break between two bytes, and is copied as it is.
        fingerprint=escape(fingerprint).replace(":", ":<wbr>"),
        windows=shown(WINDOWS),
        macos=shown(MACOS),
        debian=shown(DEBIAN),
        fedora=shown(FEDORA),
        chromium=shown(CHROMIUM),
    )
    file = make_page(ca, MEDIA_TYPE)
    return {"/ca": make_page(page.encode(), "text/html; charset=utf-8"), "/ca.pem": file, "/ca.crt": file}


def shown(commands: str) -> str:
    """Commands for a terminal; one who has no pointer can scroll them, too."""
    return f'<pre tabindex="0"><code>{escape(commands)}</code></pre>'
