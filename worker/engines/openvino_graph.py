"""What OpenVINO is given to compile: graphs in the forms in which it runs them fastest, and most exactly.

forms  every shape known, for batches of 1, 2, 4 and 8: which took 0.80 to 0.95 of the time
cut    in 16 bits: all but the last layer, and that one for float32
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

#: Bytes of weights from which on a graph is compiled once, for all sizes of batch: each time they are packed
#: anew, and kept.
LARGE = 128 << 20
_LAYERS = ("Convolution", "GroupConvolution", "MatMul")


def forms(model: Any, most: int) -> Dict[int, Any]:
    """A graph for batches of any size, by sizes of which all others can be made; none of another graph.

    OpenVINO decides when it compiles what it fuses, and where it lays what layers hand on. Of shapes that are
    still open it fuses less, such as the first layer's bias.

    Args:
        model: the graph.
        most: images of the largest batch.
    """
    if len(model.inputs) != 1 or _weights(model) > LARGE:
        return {}
    sizes = [size for size in (1, 2, 4, 8) if size <= most]
    found = {size: _of_batch(model, size) for size in sizes}
    return {} if None in found.values() else found


def _of_batch(model: Any, size: int) -> Optional[Any]:
    shape = model.input(0).get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 4 or shape[0].is_static:  # of three, it is one image, and open
        return None
    shape[0] = size
    fixed = model.clone()
    try:
        fixed.reshape(shape)
    except RuntimeError:  # inside, it is made for another size
        return None
    found = [each.get_partial_shape() for each in fixed.outputs]
    return fixed if all(each.is_static and len(each) and each[0] == size for each in found) else None


def cut(model: Any) -> Tuple[Any, Optional[Any]]:
    """All but a classifier's last layer, and that one with what follows it, if it is fully connected.

    OpenVINO rounds to 16 bits what this layer is given, its weights, and the logits that it gives, of which
    the best are the largest numbers, and lose the most. It is so small that float32 takes hardly longer.

    Returns:
        The graph itself and None, where it does not end so.
    """
    body = model.clone()
    layers = [each for each in body.get_ordered_ops() if each.get_type_name() in _LAYERS]
    if not layers or layers[-1].get_type_name() != "MatMul":
        return model, None

    import openvino

    try:
        from openvino import op
    except ImportError:  # 2024
        from openvino.runtime import op

    given, features = layers[-1].input(0), layers[-1].input_value(0)
    handed = op.Parameter(features.get_element_type(), features.get_partial_shape())
    given.replace_source_output(handed.output(0))
    try:
        last = openvino.Model(body.get_results(), [handed], "last layer")
    except RuntimeError:  # something else that follows needs the image
        return model, None
    return openvino.Model([features], body.get_parameters(), "all but the last layer"), last


def _weights(model: Any) -> int:
    """Bytes."""
    return sum(each.get_byte_size() for each in model.get_ordered_ops() if each.get_type_name() == "Constant")
