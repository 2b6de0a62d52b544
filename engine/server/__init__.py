"""The HTTP server: webhooks in, the JSON API, health.

Every answer is JSON; what goes wrong is `{"error": "a sentence"}`, never a traceback.
"""

from engine.server.listening import serving
from engine.server.routes import body_of, create_app

__all__ = ["body_of", "create_app", "serving"]
