"""What pages are checked for."""

from html.parser import HTMLParser


class Tags(HTMLParser):
    """Counts tags and keeps those that were not closed."""

    VOID = ("meta", "br", "path", "use", "link", "image")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag
