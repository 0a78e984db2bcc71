"""Joins a Ray cluster, or starts one on this machine, without Ray's talk and without its minutes of patience."""

import atexit
import logging
import os
import secrets
from collections.abc import Callable

from benchmark.sweeps.engines.ray_folder import private_folder

ADDRESS, AUTH_MODE = "RAY_ADDRESS", "RAY_AUTH_MODE"
CLIENT = "ray://"
PATIENCE_S = 5.0
OBJECT_STORE_BYTES = 100 * 2**20
"""Results are small; Ray's default would be a third of the memory. 75 MiB is the least that it takes."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # What runs without a GPU of its own must see none; saying so silences the advice that this may change.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


def connect(address: str | None, n_cpus: int) -> Callable[[], None]:
    """Make this process the driver of a cluster.

    Args:
        address: ``auto``, ``host:port``, ``ray://host:port``, or ``local`` for a new cluster on this machine; None is
            what the environment variable ``RAY_ADDRESS`` says, else ``local``.
        n_cpus: how many runs at once a new cluster takes.

    Returns:
        What disconnects, and ends the cluster if it was started here.

    Raises:
        ValueError: in one line, if Ray is not installed or no cluster answers at the address.
    """
    address = address or os.environ.get(ADDRESS) or "local"
    if address not in {"auto", "local"}:
        _check_form(address)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address == "local" and AUTH_MODE not in os.environ:
        # Ray would keep a token in the home folder, and from then on ask for it at every cluster started there. It
        # reads these when it is imported.
        os.environ |= {AUTH_MODE: "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError as error:
        raise ValueError(f"--engine ray needs Ray ({error}): pip install emergence-benchmark[ray]") from error
    _hush()
    if address == "local":
        return _start(n_cpus)
    if address != "auto":
        _knock(address)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (Exception, SystemExit) as error:  # Ray leaves by SystemExit where a cluster does not answer
        ray.shutdown()
        raise ValueError(f"the Ray cluster at {address} cannot be joined: {_said(error)}") from error
    return ray.shutdown


def _hush() -> None:
    """Let Ray not print what goes wrong on nodes, as it does whatever `log_to_driver` says: a sweep tells it itself."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):  # there is no public way
        worker.print_to_stdstream = lambda *args, **kwargs: None


def _start(n_cpus: int) -> Callable[[], None]:
    """A cluster of this machine alone, in a private folder, for as long as this process lives."""
    import ray

    try:
        folder, remove = private_folder()
    except OSError as error:
        raise ValueError(f"no Ray cluster can be started on this machine: {error}") from error

    def stop() -> None:
        try:
            ray.shutdown()
        finally:
            remove()
            atexit.unregister(stop)

    atexit.register(stop)

    try:
        ray.init(
            address="local",
            num_cpus=n_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _temp_dir=str(folder / "ray"),
        )
    except BaseException as error:
        stop()
        if isinstance(error, Exception | SystemExit):
            raise ValueError(f"no Ray cluster can be started on this machine: {_said(error)}") from error
        raise
    return stop


def _said(error: BaseException) -> str:
    """The last line, since Ray puts tracebacks of other processes into its messages."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__


def _check_form(address: str) -> None:
    """Make sure that an address is one.

    Raises:
        ValueError: in one line, if it is not.
    """
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--address {address}: must be auto, local, HOST:PORT or {CLIENT}HOST:PORT")


def _knock(address: str) -> None:
    """See whether a cluster answers, since Ray itself tries for two minutes and then ends the process.

    Raises:
        ValueError: in one line, if none does.
    """
    import grpc

    target = address.removeprefix(CLIENT)
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return  # it would not answer without its certificates
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")(b"", timeout=PATIENCE_S)
        except grpc.RpcError as error:
            match error.code():
                case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise ValueError(f"no Ray cluster answers at {address}") from error
                case grpc.StatusCode.UNAUTHENTICATED if os.environ.get(AUTH_MODE, "").lower() != "token":
                    raise ValueError(
                        f"the Ray cluster at {address} asks for its token: set {AUTH_MODE}=token, and RAY_AUTH_TOKEN"
                        " where the token is not in ~/.ray/auth_token"
                    ) from error
            # Anything else is an answer, if only that a Ray client's server does not know the question.
