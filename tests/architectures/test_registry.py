"""Registration of architectures: names, errors, and the docstring that the help is made from."""

import importlib
import inspect
import pickle

import pytest
from docstring_parser import parse

import architectures.transformer
from architectures import ARCHITECTURES, SequenceModel, Transformer, register
from architectures.registry import OPTIONS


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


@pytest.mark.parametrize("cls", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_every_option_is_documented_once(cls: type[SequenceModel]) -> None:
    documented = [param.arg_name for param in parse(cls.__doc__ or "").params]
    assert documented == list(inspect.signature(cls).parameters)
    assert all(
        "(set by the task)" in (cls.__doc__ or "").split(f"\n    {name}: ")[1].split("\n")[0]
        for name in ("vocab_size", "seq_len")
    )


def test_a_docstring_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the table and the bases; what the class itself says comes first, and a class without one is left alone."""
    for name in ("documented", "bare"):
        monkeypatch.setattr(importlib.import_module(__name__), name, None, raising=False)
        monkeypatch.setitem(ARCHITECTURES, name, Transformer)
        del ARCHITECTURES[name]  # undone by monkeypatch, and so is the registration

    @register("documented")
    class Documented(SequenceModel):
        """First line.

        More.

        Args:
            seq_len: its own
                words.

        Raises:
            ValueError: if it must.
        """

        def __init__(self, vocab_size: int, seq_len: int, *, n_layers: int = 1, unknown: int = 2) -> None:
            super().__init__(vocab_size, seq_len, d_model=1, blocks=[])

    @register("bare")
    class Bare(Transformer):
        pass

    assert Documented.__doc__ == (
        "First line.\n\nMore.\n\nArgs:\n"
        "    vocab_size: number of token values V (set by the task).\n"
        f"    seq_len: its own words.\n    n_layers: {OPTIONS['n_layers']}\n\n"
        "Raises:\n    ValueError: if it must."
    )
    assert Bare.__doc__ is None
