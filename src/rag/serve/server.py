"""The process that serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from rag.serve.app import create_app

if TYPE_CHECKING:
    from rag.assemble import Service


def run(open_service: Callable[[], Service], host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until told to stop; requests under way then have ten seconds."""
    uvicorn.run(create_app(open_service), host=host, port=port, timeout_graceful_shutdown=10, server_header=False)
