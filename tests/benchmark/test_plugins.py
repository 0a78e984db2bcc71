from importlib.metadata import EntryPoint

import pytest

from benchmark import plugins


def test_one_that_fails_warns_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(group: str) -> list[EntryPoint]:
        return [EntryPoint("bad", "no_such_module_here", group), EntryPoint(f"good {group}", "json", group)]

    loaded = []
    monkeypatch.setattr(plugins, "entry_points", found)
    monkeypatch.setattr(EntryPoint, "load", lambda self, load=EntryPoint.load: loaded.append((self.name, load(self))))
    with pytest.warns(UserWarning, match="plugin bad .* did not load: .*No module named 'no_such_module_here'"):
        plugins.load_plugins()
    assert [name for name, _ in loaded] == [f"good {group}" for group in plugins.GROUPS]
