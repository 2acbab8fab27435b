"""Run once by ``panel serve app/``, before the server answers."""

from pages.security import protect

protect()
