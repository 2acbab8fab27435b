"""Packages of the wheel: the dashboard and the course, top-level folders of a checkout, become parts of tsnn."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["tsnn*"]),
        *("tsnn.app", "tsnn.app.pages"),
        *("tsnn.notebooks", "tsnn.notebooks.solutions"),
    ],
    package_dir={"tsnn.app": "app", "tsnn.notebooks": "notebooks"},
)
