"""Every way we know to write a target that must not be reached: the rows of the address attack, and of its test.

The ranges stand here a second time, so that a range missing from the product's own tables is found and not copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

# What stands in for the outside: public addresses which the attack leads to servers of its own.
OUTSIDE, OUTSIDE_V6, DOWN = "1.1.1.1", "2606:4700:4700::1111", "9.9.9.9"
OUTSIDE_NAME = "outside.attack.example"
# Public in every table. The first two are given to this machine while the attack runs, if it may do that; the others
# are refused by setting.
OWN = ("223.255.255.254", "3ffe::53")
DENIED_HERE = ("223.255.254.0/24", "3ffe:1::/32")
METADATA = "169.254.169.254"

RANGES = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
::/96 ::1/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20
5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8 ::/3 4000::/2 8000::/1
""".split()

# Services that no range's edge shows, and private addresses that IPv6 carries in its own forms.
PLACES = """
127.0.0.1 169.254.169.254 169.254.170.2 100.100.100.200 127.0.0.53 192.0.0.192 192.0.0.9 192.88.99.1 224.0.0.251
239.255.255.250 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:a00:1 ::ffff:0:127.0.0.1 ::127.0.0.1 ::7f00:1
::169.254.169.254 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::a9fe:a9fe 64:ff9b::8.8.8.8 2002:7f00:1::
2002:a9fe:a9fe::1 2002:a00:1::1 2001:0:4136:e378:8000:63bf:80ff:fffe 2001:0:53aa:64c::5601:5601 fd00:ec2::254 fec0::1
fe80::a9fe:a9fe ff02::1 ff0e::1 0:0:0:0:0:0:0:1 0000:0000:0000:0000:0000:ffff:7f00:0001
""".split()

# Hosts that a resolver, a browser or a C library may take for one of the above.
WRITTEN = """
2130706433 2852039166 017700000001 0x7f000001 0x7F.0x0.0x0.0x1 0x7f.1 0177.0.0.1 0177.1 127.1 127.0.1 127.0.0.01
127.00.0.1 0 0.0 0x0 00000000000000000000000000000000177.1 4294967295 4294967297 256.1 127.0.0.1. 2130706433. 127.1.
0xa9fea9fe 0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376 169.254.43518 10.1 192.168.257 localhost localhost. LOCALHOST
a.localhost a.localhost. ip6-localhost localhost.localdomain metadata metadata.google.internal
①②⑦.⓪.⓪.① \uff11\uff12\uff17.0.0.1 127。0。0。1 127\uff0e0\uff0e0\uff0e1 127｡0｡0｡1 ①⑥⑨.②⑤④.①⑥⑨.②⑤④
ⓛocalhost loc\u00adalhost \uff4cocalhost
loc\u200dalhost %31%32%37.0.0.1 127%2e0%2e0%2e1 localhost%00.attack.example xn--locahost-hza xn--zzzzzz99999 xn--
""".split()

ZONES = "fe80::1%25lo fe80::1%lo ::1%25lo ::ffff:127.0.0.1%25lo fe80::1%250".split()

# Whole URLs; {port} is the canary's, {closed} a port outside the list, where another canary listens.
URLS = """
http://user@127.0.0.1:{port}/ http://user:secret@127.0.0.1:{port}/ http://:@127.0.0.1:{port}/ http://@127.0.0.1:{port}/
http://outside.attack.example@127.0.0.1:{port}/ http://outside.attack.example:80@127.0.0.1:{port}/
http://outside.attack.example%40127.0.0.1:{port}/ http://outside.attack.example\\@127.0.0.1:{port}/
http://127.0.0.1:{port}\\@outside.attack.example/ http://127.0.0.1:{port}#@outside.attack.example/
http://user@outside.attack.example/
http://user:secret@outside.attack.example/ http:127.0.0.1:{port}/ http:/127.0.0.1:{port}/ http:///127.0.0.1:{port}/
http:////127.0.0.1:{port}/ http:\\\\127.0.0.1:{port}\\ //127.0.0.1:{port}/ 127.0.0.1:{port} http://[127.0.0.1]:{port}/
http://[::1]127.0.0.1:{port}/ http://[::1:{port}/ http://[v1.127.0.0.1]:{port}/ http://127.0.0.1:{port}:{port}/
file:///etc/passwd file://127.0.0.1/etc/passwd gopher://127.0.0.1:{port}/_GET unix:///run/docker.sock
http+unix://%2Frun%2Fdocker.sock/ ftp://127.0.0.1:{port}/ ws://127.0.0.1:{port}/ wss://127.0.0.1:{port}/
tcp://127.0.0.1:{port}/ dict://127.0.0.1:{port}/info ldap://127.0.0.1:{port}/ jar:http://127.0.0.1:{port}/!/
data:text/plain,x javascript:alert(1) http://outside.attack.example:{closed}/ http://1.1.1.1:{closed}/
http://[2606:4700:4700::1111]:{closed}/ http://outside.attack.example:22/ http://outside.attack.example:25/
http://outside.attack.example:6379/ http://outside.attack.example:0/ http://outside.attack.example:65536/
http://outside.attack.example:-1/ http://127.0.0.1:{closed}/ http://a..b/ http://.attack.example/ http://-a.example/
http://attack.example../
""".split()
LONG_HOSTS = ("a" * 64 + ".attack.example", "a." * 130 + "attack.example", "ü" * 60 + ".example", "a" * 5000)
BROKEN_HOSTS = ("127.0.0.1\t", "127.0.0.1\n", "127.0.0.1\r\nHost: x", "127.0.0.1\x00", "outside attack.example", "")


@dataclass(frozen=True, slots=True)
class Form:
    """One target. `url` has {port} and {closed}; `answer` is what a resolver gives out for it, None: nothing."""

    kind: str
    name: str
    url: str
    answer: str | None = None

    def at(self, port: int, closed: int) -> str:
        """Return the URL with the canaries' ports."""
        return self.url.replace("{port}", str(port)).replace("{closed}", str(closed))


def forms(*, with_own: bool) -> list[Form]:
    """Return every form, each once; `with_own`: this machine has the addresses `OWN`."""
    made = [*_addresses(with_own=with_own), *_hosts(), *(Form("URL", url, url) for url in URLS)]
    made += [Form("host", f"{host[:12]!r}, {len(host)} long", f"http://{host}:{{port}}/") for host in LONG_HOSTS]
    made += [Form("host", repr(host), f"http://{host}:{{port}}/") for host in BROKEN_HOSTS]
    return list({form.url: form for form in reversed(made)}.values())[::-1]


def _addresses(*, with_own: bool) -> Iterator[Form]:
    for text in RANGES:
        network = ip_network(text)
        for address in (network[0], network[-1]):
            yield _address("range", str(address))
    for text in DENIED_HERE:
        network = ip_network(text)
        for address in (network[0], network[-1]):
            yield _address("by setting", str(address))
    yield from (_address("place", text) for text in PLACES)
    yield from (_address("own", text) for text in OWN if with_own)
    for zone in ZONES:
        yield Form("zone", zone, f"http://[{zone}]:{{port}}/", zone.replace("%25", "%"))


def _hosts() -> Iterator[Form]:
    return (Form("written", ascii(host)[1:-1], f"http://{host}:{{port}}/", host) for host in WRITTEN)


def _address(kind: str, text: str) -> Form:
    host = f"[{text}]" if ":" in text else text
    return Form(kind, text, f"http://{host}:{{port}}/", text)
