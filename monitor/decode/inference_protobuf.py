"""Requests and responses of the open inference protocol, version 2, in Protobuf: to documents as in JSON.

References
----------
.. [1] KServe, "Open Inference Protocol", specification/protocol/open_inference_grpc.proto.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from monitor.decode.bodies import MOST_ROWS
from monitor.decode.flat import plain
from schemas.errors import EventError

_MOST_VALUES = 10_000_000  # of one tensor
_CONTENTS = {
    "bool_contents": Field.TYPE_BOOL,
    "int_contents": Field.TYPE_INT32,
    "int64_contents": Field.TYPE_INT64,
    "uint_contents": Field.TYPE_UINT32,
    "uint64_contents": Field.TYPE_UINT64,
    "fp32_contents": Field.TYPE_FLOAT,
    "fp64_contents": Field.TYPE_DOUBLE,
    "bytes_contents": Field.TYPE_BYTES,
}
"""Fields of ``InferTensorContents``, numbered from 1."""

_OF_TYPE = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_RAW = {
    "BOOL": "?",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
_PARAMETERS = {
    "bool_param": Field.TYPE_BOOL,
    "int64_param": Field.TYPE_INT64,
    "string_param": Field.TYPE_STRING,
}


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="open_inference.proto", package="inference", syntax="proto3")
    parameter = file.message_type.add(name="InferParameter")
    parameter.oneof_decl.add(name="parameter_choice")
    for number, (name, kind) in enumerate(_PARAMETERS.items(), 1):
        parameter.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL, oneof_index=0)
    contents = file.message_type.add(name="InferTensorContents")
    for number, (name, kind) in enumerate(_CONTENTS.items(), 1):
        contents.field.add(name=name, number=number, type=kind, label=Field.LABEL_REPEATED)
    tensor = file.message_type.add(name="InferTensor")
    _add(tensor, 1, "name")
    _add(tensor, 2, "datatype")
    _add(tensor, 3, "shape", Field.TYPE_INT64, is_repeated=True)
    _add_parameters(tensor)
    tensor.field.add(
        name="contents", number=5, type=Field.TYPE_MESSAGE, label=Field.LABEL_OPTIONAL,
        type_name=".inference.InferTensorContents",
    )  # fmt: skip
    for name, tensors, raw, at in (
        ("ModelInferRequest", "inputs", "raw_input_contents", 7),
        ("ModelInferResponse", "outputs", "raw_output_contents", 6),
    ):
        message = file.message_type.add(name=name)
        for number, text in enumerate(("model_name", "model_version", "id"), 1):
            _add(message, number, text)
        _add_parameters(message)
        message.field.add(
            name=tensors, number=5, type=Field.TYPE_MESSAGE, label=Field.LABEL_REPEATED,
            type_name=".inference.InferTensor",
        )  # fmt: skip
        _add(message, at, raw, Field.TYPE_BYTES, is_repeated=True)
    return file


def _add(
    message: DescriptorProto,
    number: int,
    name: str,
    kind: Field.Type.ValueType = Field.TYPE_STRING,
    *,
    is_repeated: bool = False,
) -> None:
    label = Field.LABEL_REPEATED if is_repeated else Field.LABEL_OPTIONAL
    message.field.add(name=name, number=number, type=kind, label=label)


def _add_parameters(message: DescriptorProto) -> None:
    """Field 4 of tensors and of messages: a map of parameters."""
    entry = message.nested_type.add(name="ParametersEntry")
    entry.options.map_entry = True
    _add(entry, 1, "key")
    entry.field.add(
        name="value", number=2, type=Field.TYPE_MESSAGE, label=Field.LABEL_OPTIONAL,
        type_name=".inference.InferParameter",
    )  # fmt: skip
    message.field.add(
        name="parameters", number=4, type=Field.TYPE_MESSAGE, label=Field.LABEL_REPEATED,
        type_name=f".inference.{message.name}.ParametersEntry",
    )  # fmt: skip


_POOL = DescriptorPool()
_POOL.AddSerializedFile(_file().SerializeToString())
MESSAGES: Mapping[str, type[Message]] = {
    side: GetMessageClass(_POOL.FindMessageTypeByName(f"inference.{name}"))
    for side, name in (("request", "ModelInferRequest"), ("response", "ModelInferResponse"))
}
"""Classes of the two messages, by side."""


def document_of(value: bytes, side: str) -> dict[str, Any]:
    """Read a request or a response.

    Parameters
    ----------
    value : bytes
    side : str
        ``request`` or ``response``.

    Returns
    -------
    dict
        As in JSON: ``model_name``, ``model_version``, ``id``, ``parameters``, and ``inputs`` or ``outputs``
        with their ``data``. Bytes that are no text are None.

    Raises
    ------
    EventError
        If the bytes are no such message, or contents do not fit their tensors.
    """
    message: Any = MESSAGES[side]()
    try:
        message.ParseFromString(value)
    except (DecodeError, ValueError, RecursionError) as error:
        msg = f"{side}: no Protobuf of the inference protocol ({str(error)[:120]})"
        raise EventError(msg) from error
    tensors, raw, name = (
        (message.inputs, message.raw_input_contents, "inputs")
        if side == "request"
        else (message.outputs, message.raw_output_contents, "outputs")
    )
    if len(raw) not in (0, len(tensors)):
        msg = f"{side}: {len(raw)} raw contents for {len(tensors)} tensors"
        raise EventError(msg)
    found: dict[str, Any] = {
        text: getattr(message, text)
        for text in ("model_name", "model_version", "id")
        if getattr(message, text)
    }
    found["parameters"] = _parameters(message)
    found[name] = [
        _tensor(one, raw[at] if raw else None, f"{side}: {name}[{at}]") for at, one in enumerate(tensors)
    ]
    return found


def _parameters(message: Any) -> dict[str, Any]:
    found = {}
    for name, parameter in message.parameters.items():
        which = parameter.WhichOneof("parameter_choice")
        if which is not None:
            found[name] = getattr(parameter, which)
    return found


def _tensor(tensor: Any, raw: bytes | None, place: str) -> dict[str, Any]:
    shape, datatype = list(tensor.shape), tensor.datatype
    size = math.prod(shape)
    if not shape or min(shape) < 1 or shape[0] > MOST_ROWS or size > _MOST_VALUES:
        msg = f"{place}: shape {shape!r:.60} (at most {MOST_ROWS} rows and {_MOST_VALUES} values are allowed)"
        raise EventError(msg)
    if raw is None:
        data = list(getattr(tensor.contents, _OF_TYPE[datatype])) if datatype in _OF_TYPE else []
        data = [plain(value) for value in data] if datatype == "BYTES" else data
    elif datatype == "BYTES":
        data = _texts(raw, size, place)
    else:
        data = _numbers(raw, datatype, place)
    return {
        "name": tensor.name, "shape": shape, "datatype": datatype, "data": data,
        "parameters": _parameters(tensor),
    }  # fmt: skip


def _numbers(raw: bytes, datatype: str, place: str) -> list[Any]:
    """Values in little-endian order, one after the other."""
    kind = _RAW.get(datatype)
    if kind is None:
        msg = f"{place}: datatype {datatype!r:.40} (use one of {', '.join((*_RAW, 'BYTES'))})"
        raise EventError(msg)
    width = np.dtype(kind).itemsize
    if len(raw) % width:
        msg = f"{place}: {len(raw)} raw bytes are no whole number of {datatype}"
        raise EventError(msg)
    found: list[Any] = np.frombuffer(raw, kind).tolist()
    return found


def _texts(raw: bytes, size: int, place: str) -> list[Any]:
    """Values with their lengths in front, in four bytes."""
    found: list[Any] = []
    at = 0
    while at < len(raw) and len(found) < size:
        if at + 4 > len(raw):
            break
        (length,) = struct.unpack_from("<I", raw, at)
        if at + 4 + length > len(raw):
            break
        found.append(plain(raw[at + 4 : at + 4 + length]))
        at += 4 + length
    if at != len(raw):
        msg = f"{place}: the raw bytes are not {size} values with their lengths in front"
        raise EventError(msg)
    return found
