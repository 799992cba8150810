"""What the comparison with stored outputs leaves out (the rest is compared word for word)."""


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):  # a notebook under nbval
        collector.skip_compare += ("stderr", "text/html", "image/svg+xml")
