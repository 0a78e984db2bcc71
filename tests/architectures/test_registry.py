import importlib
import pickle

import pytest

import architectures.transformer
from architectures import ARCHITECTURES, SequenceModel, Transformer, register


def test_names_resolve_and_python_names_stay() -> None:
    assert ARCHITECTURES["transformer"] is Transformer is architectures.transformer.Transformer
    assert Transformer.__name__ == Transformer.__qualname__ == "transformer"


@pytest.mark.parametrize(("name", "cls"), ARCHITECTURES.items())
def test_every_name_is_an_attribute_of_its_module(name: str, cls: type[SequenceModel]) -> None:
    """jsonargparse and pickle look the class up there."""
    assert getattr(importlib.import_module(cls.__module__), name) is cls
    assert cls.__name__ == name


def test_a_duplicate_names_both_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError) as error:

        @register("transformer")
        class Another(Transformer):
            pass

    expected = f"architecture name 'transformer' of {__name__} is already taken by architectures.transformer"
    assert str(error.value) == expected
    assert ARCHITECTURES["transformer"] is Transformer
    assert not hasattr(importlib.import_module(__name__), "transformer")


@pytest.mark.parametrize("thing", [dict, lambda: None, 3], ids=["class", "function", "number"])
def test_only_sequence_models_register(thing: object) -> None:
    with pytest.raises(TypeError, match=r"@register\('thing'\) decorates .* not a subclass of SequenceModel"):
        register("thing")(thing)  # type: ignore[type-var]
    assert "thing" not in ARCHITECTURES


def test_a_class_made_in_a_function_can_be_pickled_once_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module(__name__), "newcomer", None, raising=False)
    monkeypatch.setitem(ARCHITECTURES, "newcomer", Transformer)
    del ARCHITECTURES["newcomer"]  # undone by monkeypatch, and so is the registration

    @register("newcomer")
    class Newcomer(Transformer):
        pass

    assert ARCHITECTURES["newcomer"] is Newcomer
    assert pickle.loads(pickle.dumps(Newcomer)) is Newcomer
