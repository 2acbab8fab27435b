"""Icons of buttons as SVG, because a notebook has no icon font."""


def _icon(path: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="{path}"/></svg>'


PLAY, PAUSE, STOP = _icon("M8 5v14l11-7z"), _icon("M6 5h4v14H6zm8 0h4v14h-4z"), _icon("M6 6h12v12H6z")
BACK = _icon("M15.4 7.4 14 6l-6 6 6 6 1.4-1.4-4.6-4.6z")
FORWARD = _icon("M8.6 7.4 10 6l6 6-6 6-1.4-1.4 4.6-4.6z")
STEP = _icon("m6 18 8.5-6L6 6v12zM16 6v12h2V6h-2z")
AGAIN = _icon("M12 5V1L7 6l5 5V7a6 6 0 1 1-6 6H4a8 8 0 1 0 8-8z")
MAPS = _icon("M4 4h7v7H4zm9 0h7v7h-7zM4 13h7v7H4zm9 0h7v7h-7z")
RULER = _icon("M2 7h20v10H2zm2 2v6h16V9h-2v4h-2V9h-2v4h-2V9h-2v4H8V9z")
ENLARGE = _icon("m15.5 14-.5-.5a6.5 6.5 0 1 0-1 1l.5.5v.8l5 5 1.5-1.5-5-5zm-6 0a4.5 4.5 0 1 1 0-9 4.5 4.5 0 0 1 0 9z")
