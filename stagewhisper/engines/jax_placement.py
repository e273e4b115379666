"""Where the JAX engine's arrays lie: a mesh of devices, and which axis of an array is split along which of the mesh's.

    device "tpu:4x2"        model 0   model 1
              data 0        ┌───────┬───────┐
              data 1        │ every │ every │     batch           along data: each row has its own windows
              data 2        │ half  │ half  │     vocab mlp heads along model: each column has its share of the weights
              data 3        └───────┴───────┘     all else        a copy on every device

One device is a mesh of 1x1: the same code runs on a processor, a GPU, and a pod of TPUs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stagewhisper.checkpoint import ModelDims
from stagewhisper.errors import EngineError

RULES: Mapping[str, str | None] = {
    "batch": "data",
    "vocab": "model",
    "mlp": "model",
    "heads": "model",
    "embed": None,
    "length": None,
    "layers": None,
    "parts": None,
    "head_dim": None,
    "channels": None,
}
"""The mesh's axis for each kind of array axis; None keeps a whole copy on every device."""

_DEVICE = re.compile(r"(?P<platform>[a-z]+)(:(?P<index>\d{1,4})|:(?P<data>\d{1,4})x(?P<model>\d{1,4}))?")


@dataclass(frozen=True)
class Placement:
    """A mesh with the axes "data" and "model"."""

    mesh: Mesh

    @property
    def n_data(self) -> int:
        """Devices among which a batch is shared; its size is made a multiple of this."""
        return int(self.mesh.shape["data"])

    @property
    def n_model(self) -> int:
        """Devices among which a layer's weights are shared."""
        return int(self.mesh.shape["model"])

    @property
    def platform(self) -> str:
        """What the devices are: "cpu", "gpu" or "tpu"."""
        return str(self.mesh.devices.flat[0].platform)

    def sharding(self, *axes: str) -> NamedSharding:
        """How an array is split whose axes are of these kinds; without any, it is copied to every device."""
        return NamedSharding(self.mesh, PartitionSpec(*(RULES[axis] for axis in axes)))

    def put(self, array: np.ndarray, *axes: str) -> jax.Array:
        """The array on the devices."""
        return jax.device_put(array, self.sharding(*axes))

    def constrain(self, array: jax.Array, *axes: str) -> jax.Array:
        """The same inside a compiled program: tells the compiler where a result has to lie."""
        return jax.lax.with_sharding_constraint(array, self.sharding(*axes))


def placement(device: str | None) -> Placement:
    """The mesh that `device` names.

    "cpu", "gpu" or "tpu" is the first device of that kind, "gpu:1" another, "tpu:4x2" a mesh of 4 along data and 2
    along model; None is the first of the kind that JAX prefers.

    Raises:
        EngineError: there is no such device here, or there are not so many.
    """
    match = _DEVICE.fullmatch("" if device is None else device)
    if device is None:
        return Placement(_mesh(jax.devices(), 0, (1, 1)))
    devices = _devices(match["platform"]) if match else []
    if match is None or not devices:
        raise EngineError(_no_such_device(device))
    shape = (int(match["data"]), int(match["model"])) if match["data"] else (1, 1)
    first = int(match["index"] or 0)
    n_wanted = first + shape[0] * shape[1]
    if not 0 < shape[0] * shape[1] <= n_wanted <= len(devices):
        raise EngineError(
            f"The device {device!r} needs {n_wanted} devices, at least one along each axis; "
            f"JAX has {len(devices)} of {match['platform']!r} here."
        )
    return Placement(_mesh(devices, first, shape))


def check_divisible(dims: ModelDims, n_model: int) -> None:
    """Nothing, if weights of this shape can be shared among `n_model` devices.

    Raises:
        EngineError: the heads cannot be dealt out evenly.
    """
    for name, n_head in (("n_audio_head", dims.n_audio_head), ("n_text_head", dims.n_text_head)):
        if n_head % n_model:
            raise EngineError(
                f"The model's {name} is {n_head}, which {n_model} devices cannot share evenly. Make the model axis of "
                "the mesh, the second number of the device's name, a divisor of it."
            )


def _mesh(devices: list[jax.Device], first: int, shape: tuple[int, int]) -> Mesh:
    chosen = devices[first : first + shape[0] * shape[1]]
    return Mesh(np.array(chosen, object).reshape(shape), ("data", "model"))


def _devices(platform: str) -> list[jax.Device]:
    try:
        return jax.devices(platform)
    except RuntimeError:  # JAX has been installed without that platform, or found no such device
        return []


def _no_such_device(device: str) -> str:
    known = sorted({"cpu", *(one.platform for one in jax.devices())})
    names = " and ".join(repr(name) for name in known)
    return (
        f"The engine 'jax' runs here on {'the device' if len(known) == 1 else 'the devices'} {names} only, not on "
        f"{device!r}. For others, install JAX with its support: pip install 'jax[cuda13]' or 'jax[tpu]'."
    )
