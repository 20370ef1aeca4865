"""Starts the service that the image's own command line names."""

import os
import sys

from . import api, api_dotnet, elsa_server, engine, typescript
from .process import Refusal, Unhandled, abort, log

#: The last words of a published image's entrypoint and command -> what plays that service.
SERVICES = {
    "Tamma.ElsaServer.dll": elsa_server.main,
    "Tamma.Api.dll": api_dotnet.main,
    "server": api.main,
    "start": engine.main,
}


def main() -> int:
    for word in sys.argv[1:]:
        if word in SERVICES:
            try:
                if not word.endswith(".dll"):
                    typescript.preload()
                return SERVICES[word](sys.argv[1:])
            except Unhandled as error:
                abort(error)
            except Refusal as refusal:
                log("error", str(refusal))
                return refusal.status
    log("error", "Unknown command: " + " ".join(sys.argv[1:]))
    return 1


status = main()
sys.stdout.flush()
# At once: what other threads are in the middle of is lost, as it is in the real services.
os._exit(status)
