"""The dashboard: ``tsnn dashboard``, or ``panel serve app/ --address 127.0.0.1 --show``.

Reads run directories and starts engines as separate processes; it never trains itself. Runs are
kept in the folder named by the environment variable TSNN_RUNS, else in ``./runs``.
"""

import panel as pn
from pages.dashboard import Dashboard

pn.extension("tabulator")

Dashboard().page().servable(title="tsnn")
