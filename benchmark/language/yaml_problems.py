"""One line for what is wrong in a YAML file of this room."""

from pydantic import BaseModel, ValidationError

from benchmark.config.errors import unknown


def problem_of(error: ValidationError, model: type[BaseModel]) -> str:
    """Where the first problem is and what it is; a key that does not exist comes first, with the nearest one.

    Args:
        error: of reading a file as a model.
        model: the model, whose fields may be models.
    """
    problems = error.errors(include_url=False, include_input=False)
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    if problem["type"] != "extra_forbidden":
        where = ".".join(map(str, problem["loc"]))
        return f"{where}: {problem['msg']}".removeprefix(": ").replace("Value error, ", "")
    *parents, key = map(str, problem["loc"])
    for parent in parents:
        inner = model.model_fields[parent].annotation
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        model = inner
    return unknown("key", ".".join([*parents, key]), [".".join([*parents, name]) for name in model.model_fields])
