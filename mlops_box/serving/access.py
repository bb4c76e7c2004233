"""Who can reach the server: where it listens, by which names it is called, whether it asks for tokens.

On the loopback interface nobody is asked. Whatever can be reached from elsewhere, by a wider address or through a proxy
that passes another name, asks for a token, and does not start without one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_box.errors import UsageError
from mlops_box.serving.guard import LOOPBACK
from mlops_box.serving.problems import HttpProblem

if TYPE_CHECKING:
    from mlops_box.serving.tokens import TokenStore

MAX_CONNECTIONS = 4096
# For servers that others start and bind (bentoml serve, a container).
HOSTS_VARIABLE = "MLOPS_BOX_ALLOW_HOST"
TOKEN_VARIABLE = "MLOPS_BOX_REQUIRE_TOKEN"
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


@dataclass(frozen=True)
class Access:
    """How a server may be reached.

    Attributes:
        hosts: The names it answers to, as a Host header has them without the port.
        needs_token: Ask for a token on every path that is not open.
        binds_itself: The server took its address itself. Otherwise each connection is looked at: where no token is
            asked for, only those to a loopback address are served.
        connections: How many may be open at once, in each process.
    """

    hosts: frozenset[bytes] = LOOPBACK
    needs_token: bool = False
    binds_itself: bool = True
    connections: int = MAX_CONNECTIONS


LOOPBACK_ONLY = Access()


def access_for(
    host: str,
    *,
    allow_hosts: Iterable[str] = (),
    require_token: bool = False,
    connections: int = MAX_CONNECTIONS,
) -> Access:
    """What binding ``host`` means.

    Args:
        host: An address or name to listen at.
        allow_hosts: Further names it is called by.
        connections: See :class:`Access`.

    Raises:
        UsageError: It listens at every address and nobody said what it is called; a name that is none.
    """
    named = [_host_header(name) for name in allow_hosts]
    if not is_loopback(host):
        if is_unspecified(host):
            if not named:
                raise UsageError(
                    f"a server that listens at {host} must know by which names it is called",
                    hint="--allow-host box.local (the name or address that clients use)",
                )
        else:
            named.append(_host_header(host))
    wider = bool(named)
    hosts = LOOPBACK | frozenset(named)
    return Access(hosts, needs_token=wider or require_token, connections=connections)


def access_from(environ: Mapping[str, str]) -> Access:
    """The same for a server that somebody else binds: names and tokens by environment variables.

    Raises:
        UsageError: A name that is none.
    """
    names = [name.strip() for name in environ.get(HOSTS_VARIABLE, "").split(",") if name.strip()]
    hosts = LOOPBACK | frozenset(_host_header(name) for name in names)
    asks = environ.get(TOKEN_VARIABLE, "").lower() in ("1", "true", "yes")
    return Access(hosts, needs_token=bool(names) or asks, binds_itself=False)


def check_tokens(access: Access, tokens: TokenStore, *, past_ones: bool = False) -> None:
    """Refuse a start that would ask everybody for tokens which nobody has.

    Args:
        past_ones: Those that have expired or were revoked will do: for a server that is started again, which then
            refuses everybody as it did before.

    Raises:
        UsageError: Tokens are asked for, and there is none.
    """
    if access.needs_token and not (tokens.list() if past_ones else tokens.valid()):
        raise UsageError(
            "the server would ask for a token, and there is none",
            hint="mlops-box tokens create NAME --scope predict",
        )


def refuse_from_elsewhere(server: tuple[str, int | None] | None) -> None:
    """Refuse a connection that reached this machine by another than a loopback address (or a Unix socket).

    Args:
        server: The address that was connected to, as ASGI gives it.

    Raises:
        HttpProblem: 403.
    """
    if server is None or (server[1] is not None and not is_loopback(server[0])):
        raise HttpProblem(
            403, "elsewhere", "without tokens this server answers on the loopback interface only",
            hint=f"set {TOKEN_VARIABLE}=1, or {HOSTS_VARIABLE} to the name it is called by",
        )  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether an address, or ``localhost``, is reached from this machine only. Other names are not looked up."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and (_mapped(address) or address).is_loopback


def is_unspecified(host: str) -> bool:
    """Whether it stands for every address of the machine."""
    address = _address(host)
    return address is not None and address.is_unspecified


def reached_at(host: str) -> str:
    """The address by which this machine's own processes reach a server that listens at ``host``."""
    if not is_unspecified(host):
        return host
    return "::1" if ":" in host else "127.0.0.1"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None


def _host_header(name: str) -> bytes:
    """A name as a Host header has it: lower case, IPv6 in brackets.

    Raises:
        UsageError: It is no host name and no address.
    """
    bare = name.lower().removeprefix("[").removesuffix("]")
    address = _address(bare)
    if address is not None and not address.is_unspecified and "%" not in bare:
        return f"[{address}]".encode() if address.version == 6 else str(address).encode()
    if address is not None or not _HOST_NAME.fullmatch(bare):
        raise UsageError(
            f"{name!r} is no host name", hint="a name or an address without a port: box.local, 192.168.1.5"
        )
    return bare.encode()
