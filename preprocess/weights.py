"""Files of weights and configurations that a user names."""

from pathlib import Path

from preprocess.method import MethodError, WeightsSource


def read_file(file: Path, parameter: str) -> bytes:
    """Content of a file.

    Args:
        file: The file.
        parameter: The parameter that named it, such as `flow_weights`.

    Raises:
        MethodError: If it is missing or cannot be read.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise MethodError(no_file(file, parameter)) from None
    except OSError as error:
        raise MethodError(f"{parameter}: {str(file)!r} cannot be read ({error.strerror})") from None


def no_file(file: Path, parameter: str) -> str:
    """Say that the file that a parameter names does not exist."""
    return f"{parameter}: there is no file {str(file)!r}"


def refuse_config(source: WeightsSource, option: str) -> None:
    """Refuse a configuration that was given to a method without one.

    Args:
        source: What the user gave.
        option: The option that chose the method, such as `flow=raft_small`.

    Raises:
        MethodError: If there is a configuration.
    """
    if source.config is not None:
        role = option.split("=")[0]
        raise MethodError(f"{option} has no config; leave {role}_config out")
