"""The site: an overview of all suites and one page an entry, static files that need no server and no network."""

from leaderboard.render.site.site import write_site

__all__ = ["write_site"]
