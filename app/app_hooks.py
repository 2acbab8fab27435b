"""Run once by ``panel serve app/``, before the server answers."""

from pages.readonly import enforce
from pages.security import protect

protect()
enforce()
